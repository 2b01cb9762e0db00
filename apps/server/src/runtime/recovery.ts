import type { SessionInput } from '../core/session/session-input.ts';
import type { SessionState } from '../core/session/state.ts';
import type { ToolOutputs } from '../ports/tool-outputs.ts';
import type { AgentInUse } from './agent-in-use.ts';
import type { EffectRunner } from './effects.ts';
import type { OpenedSession, SessionJournal } from './session-journal.ts';

/** What the model is told of the output of a tool that was cut, in bytes. */
const CUT_OUTPUT_BYTES = 16 * 1024;

/** Finds out what was in flight when a log was last left: the first input of a session that is opened. */
export async function recovery(from: {
  session: string;
  journal: Pick<SessionJournal, 'now'>;
  agent: AgentInUse;
  torn: OpenedSession['torn'];
  outputs: ToolOutputs;
  runner: Pick<EffectRunner, 'chargeCut'>;
}): Promise<SessionInput> {
  const { journal, agent, torn, runner } = from;
  const openedSeq = journal.now.state.seq;
  await agent.read();
  const outputs = await cutOutputs(from.session, journal.now.state.turn, from.outputs);
  const cut = agent.latest && (await runner.chargeCut(journal.now, agent.latest));
  return {
    type: 'recover',
    openedSeq,
    outputs,
    ...(torn ? { torn } : {}),
    ...(cut ? { cut } : {}),
  };
}

/** What the tools that run have said, by call: the end of it. */
export async function cutOutputs(
  session: string,
  turn: SessionState['turn'],
  outputs: ToolOutputs,
): Promise<Record<string, string>> {
  const tails: Record<string, string> = {};
  for (const { call, status } of turn?.calls ?? []) {
    if (status !== 'started') continue;
    tails[call] = await outputs.tail(session, call, CUT_OUTPUT_BYTES);
  }
  return tails;
}
