import type { EventOf, SessionEvent } from '@duragent/protocol';
import { eventsOf, type LogReading, settledFaults } from '../support/session-log.ts';
import type { LedgerEntry } from '../support/tool-ledger.ts';
import { FAILURE_CODE, kindOf, tokenOf } from './tools-work.ts';

/** What people were told: that their decision, or their answer, holds. */
export interface Ack {
  /** Of the approval or question. */
  id: string;
  said: string;
}

/** Everything that can be known from outside, at one moment of rest. */
export interface ToolEvidence {
  logs: readonly LogReading[];
  ledger: readonly LedgerEntry[];
  acks: readonly Ack[];
  /** Messages that were acknowledged, by their session. */
  said: readonly { session: string; text: string }[];
  /** Sessions that wait for a person, and may. */
  waiting: ReadonlySet<string>;
}

/** Something that must not be. */
export interface ToolFinding {
  what: string;
  session: string | null;
  call: string | null;
}

/** All that a log and the ledger say about one call. */
export interface CallHistory {
  session: string;
  agent: string;
  asked: EventOf<'assistant_message'>['tool_calls'][number];
  token: string | null;
  requested: EventOf<'approval_requested'>[];
  decided: EventOf<'approval_decided'>[];
  questions: EventOf<'question_asked'>[];
  answers: EventOf<'question_answered'>[];
  started: EventOf<'tool_started'>[];
  finished: EventOf<'tool_finished'>[];
  ledger: LedgerEntry[];
}

/** Compares, at rest, what was done to the world and what people were told with what the logs say. */
export function judgeTools(evidence: ToolEvidence): ToolFinding[] {
  const calls = callsOf(evidence);
  return [
    ...evidence.logs.flatMap((log) => logFaults(log, evidence)),
    ...calls.flatMap((call) => {
      return callFaults(call, evidence).map((fault) => {
        const what = `${call.asked.call} (${call.token}) ${fault}`;
        return { what, session: call.session, call: call.asked.call };
      });
    }),
    ...strangers(evidence.ledger, calls),
    ...ackFaults(evidence, calls),
    ...saidFaults(evidence),
  ];
}

/** Every call that is in a log. */
export function callsOf({ logs, ledger }: Pick<ToolEvidence, 'logs' | 'ledger'>): CallHistory[] {
  const entries = Map.groupBy(ledger, ({ token }) => token);
  return logs.flatMap(({ session, events }) => {
    const [first] = events;
    const agent = first?.type === 'session_started' ? first.agent : '';
    const byCall = Map.groupBy(events, (event) => ('call' in event ? event.call : null));
    return eventsOf(events, 'assistant_message').flatMap(({ tool_calls }) =>
      tool_calls.map((asked) => {
        const own = byCall.get(asked.call) ?? [];
        const token = tokenOf(JSON.stringify(asked.arguments));
        return {
          session,
          agent,
          asked,
          token,
          requested: eventsOf(own, 'approval_requested'),
          decided: eventsOf(own, 'approval_decided'),
          questions: eventsOf(own, 'question_asked'),
          answers: eventsOf(own, 'question_answered'),
          started: eventsOf(own, 'tool_started'),
          finished: eventsOf(own, 'tool_finished'),
          ledger: entries.get(token ?? '') ?? [],
        };
      }),
    );
  });
}

/** How often a call's command did something. */
function marksIn({ ledger }: Pick<CallHistory, 'ledger'>, mark: LedgerEntry['mark']): number {
  return ledger.filter((entry) => entry.mark === mark).length;
}

function logFaults({ session, events }: LogReading, { waiting }: ToolEvidence): ToolFinding[] {
  const faults = waiting.has(session) ? [] : settledFaults(events);
  return faults.map((fault) => ({ what: `${session} ${fault}`, session, call: null }));
}

function callFaults(call: CallHistory, { logs, waiting }: ToolEvidence): string[] {
  const faults: string[] = [];
  const { started, finished, ledger } = call;
  const [end] = finished;
  const starts = marksIn(call, 'start');
  if (finished.length !== 1 && !waiting.has(call.session)) {
    faults.push(`has ${finished.length} results`);
  }
  if (started.length > 1) faults.push(`was started ${started.length} times`);
  if (starts > 1) faults.push(`took effect ${starts} times`);
  if (starts > 0 && started.length === 0) faults.push('took effect and was never started');
  if (marksIn(call, 'late') > 0) faults.push('left something behind that took effect later');
  if (!end) return faults;
  if (started.some(({ seq }) => seq > end.seq)) faults.push('was started after it had its result');
  const name = call.asked.name;
  if (name === 'bash') {
    const { questions } = call;
    faults.push(...resultFaults(call, end), ...consentFaults(call, end));
    if (questions.length > 0 || call.agent === 'asking') faults.push(...cutFaults(call, end));
  }
  if (name === 'ask_user') faults.push(...questionFaults(call, end));
  if (end.outcome === 'unknown' && !wasCut(call, end, logs)) {
    faults.push(`is of unknown outcome, and nothing had cut it`);
  }
  if (name === 'bash' && ledger.some(({ cwd }) => cwd !== ledger[0]?.cwd)) {
    faults.push(`ran in several folders: ${ledger.map(({ cwd }) => cwd).join(', ')}`);
  }
  return faults;
}

/** What a result of a command claims, against what happened. */
function resultFaults(call: CallHistory, end: EventOf<'tool_finished'>): string[] {
  const [starts, ends] = [marksIn(call, 'start'), marksIn(call, 'end')];
  const command = commandOf(call);
  const { outcome, content } = end;
  const isCut = (call.started[0]?.epoch ?? end.epoch) < end.epoch;
  if (isCut && outcome !== 'unknown') return [`was cut by a kill and is said to be ${outcome}`];
  switch (outcome) {
    case 'ok':
      if (call.started.length === 0 || ends === 0) return ['is said to be ok and was not done'];
      return content.includes(`end ${call.token}`) ? [] : [`has another output: ${content}`];
    case 'error': {
      const fails = command.endsWith(` ${FAILURE_CODE}`) && ends === 1;
      return fails && content.includes(`Exit code ${FAILURE_CODE}`) ? [] : [`failed: ${content}`];
    }
    case 'timed_out':
      return ends > 0 ? ['is said to be timed out and came to its end'] : [];
    case 'denied':
    case 'skipped':
      return starts > 0 ? [`is said to be ${outcome} and took effect`] : [];
    case 'cancelled':
    case 'unknown':
      return [];
  }
}

/** Whether it ran only as it was allowed, and only if it was. */
function consentFaults(call: CallHistory, end: EventOf<'tool_finished'>): string[] {
  const faults: string[] = [];
  const kind = kindOf(commandOf(call));
  const [start] = call.started;
  if (kind === 'forbidden' && (start || end.outcome !== 'denied')) {
    // Cancelled before it was its turn.
    if (start || end.outcome !== 'skipped') faults.push(`is forbidden and ended ${end.outcome}`);
  }
  const asks = call.agent === 'asking' && kind !== 'forbidden' && kind !== 'quick';
  if (asks && start && call.requested.length === 0)
    faults.push('was started without being asked for');
  if (call.requested.length > 1) faults.push(`was asked for ${call.requested.length} times`);
  const [request] = call.requested;
  if (!request) return faults;
  if (call.decided.length > 1) faults.push(`was decided ${call.decided.length} times`);
  const [decided] = call.decided;
  const isAllowed = decided?.decision === 'allow_once' || decided?.decision === 'allow_always';
  if (start && !isAllowed) faults.push(`was started and ${decided?.decision ?? 'not decided'}`);
  if (decided && !isAllowed && end.outcome !== 'denied') {
    faults.push(`was refused and ended ${end.outcome}`);
  }
  if (start && start.hash !== request.hash) faults.push('was started as another than was allowed');
  const elsewhere = call.ledger.find(({ cwd }) => cwd !== request.command?.cwd);
  if (elsewhere) faults.push(`was allowed in ${request.command?.cwd} and ran in ${elsewhere.cwd}`);
  return faults;
}

function questionFaults(call: CallHistory, end: EventOf<'tool_finished'>): string[] {
  const faults: string[] = [];
  const [answered] = call.answers;
  if (call.started.length > 0) faults.push('is a question and was run');
  if (call.questions.length > 1) faults.push(`was asked ${call.questions.length} times`);
  if (call.answers.length > 1) faults.push(`was answered ${call.answers.length} times`);
  if (end.outcome === 'ok' && (!answered || answered.answer !== end.content)) {
    faults.push(
      `was answered ${answered?.answer ?? 'by nobody'}, and the model is told ${end.content}`,
    );
  }
  // Cancelled before it was answered, or asked.
  if (end.outcome !== 'ok' && (answered || end.outcome !== 'skipped')) {
    faults.push(`is a question and ended ${end.outcome}: ${end.content}`);
  }
  return faults;
}

/** Whether people were asked what came of a command that was cut, and the model was told what they said. */
function cutFaults(
  { agent, questions, answers }: CallHistory,
  { outcome, content }: EventOf<'tool_finished'>,
): string[] {
  const faults: string[] = [];
  if (questions.length > 0 && agent !== 'asking') faults.push('was asked about unasked');
  if (questions.length > 1) faults.push(`was asked about ${questions.length} times`);
  if (answers.length > 1) faults.push(`was answered ${answers.length} times`);
  if (questions.length === 0 && outcome === 'unknown') faults.push('was cut and nobody was asked');
  if (questions.length > 0 && outcome !== 'unknown') {
    faults.push(`was asked about and is said to be ${outcome}`);
  }
  const [answered] = answers;
  const told = answered?.answer === 'I cannot say' ? 'cannot say' : `says: ${answered?.answer}`;
  if (answered && !content.includes(told)) {
    faults.push(`was answered ${answered.answer}, and the model is told ${content}`);
  }
  return faults;
}

/** Whether the server ended while a call ran, or stopped in order. */
function wasCut(
  { session, started, questions }: CallHistory,
  result: EventOf<'tool_finished'>,
  logs: readonly LogReading[],
): boolean {
  const [start] = started;
  if (!start) return false;
  // What is asked about was cut then, whenever it is answered.
  const end = questions[0] ?? result;
  if (start.epoch < end.epoch) return true;
  const events = logs.find((log) => log.session === session)?.events ?? [];
  const next = events.slice(end.seq).find((event) => event.type !== 'tool_finished');
  const isDrained = next?.type === 'turn_paused' && next.reason === 'drain';
  // Killed as it stopped.
  return isDrained || next === undefined || next.epoch > end.epoch;
}

/** Effects of calls that no log knows. */
function strangers(ledger: readonly LedgerEntry[], calls: readonly CallHistory[]): ToolFinding[] {
  const known = new Set(calls.map(({ token }) => token));
  return ledger
    .filter(({ token }) => !known.has(token))
    .map(({ mark, token }) => ({
      what: `${mark} ${token} is in the ledger, and no log knows such a call`,
      session: null,
      call: null,
    }));
}

/** What people were told holds, and was told to one of them only. */
function ackFaults({ acks }: ToolEvidence, calls: readonly CallHistory[]): ToolFinding[] {
  const said = new Map<string, { text: string; call: CallHistory }>();
  for (const call of calls) {
    for (const { approval, decision } of call.decided) said.set(approval, { text: decision, call });
    for (const { question, answer } of call.answers) {
      said.set(question, { text: answer ?? '', call });
    }
  }
  return [...Map.groupBy(acks, ({ id }) => id)].flatMap(([id, told]) => {
    const held = said.get(id);
    const where = { session: held?.call.session ?? null, call: held?.call.asked.call ?? null };
    const words = told.map((ack) => ack.said).join(', ');
    if (told.length > 1) return [{ what: `${id} was decided by several: ${words}`, ...where }];
    if (held?.text === told[0]?.said) return [];
    const what = `${id}: ${words} was acknowledged, and the log has ${held?.text ?? 'nothing'}`;
    return [{ what, ...where }];
  });
}

function saidFaults({ logs, said }: ToolEvidence): ToolFinding[] {
  const texts = new Map(
    logs.map(({ session, events }) => {
      return [
        session,
        eventsOf(events, 'user_message').map((event) => JSON.stringify(event.content)),
      ];
    }),
  );
  return said.flatMap(({ session, text }) => {
    const found = texts.get(session)?.filter((content) => content.includes(`"${text}"`)) ?? [];
    if (found.length === 1) return [];
    const what = `"${text}" was acknowledged and is in the log ${found.length} times`;
    return [{ what, session, call: null }];
  });
}

function commandOf({ asked }: CallHistory): string {
  const { arguments: args } = asked;
  const isObject = typeof args === 'object' && args !== null;
  return isObject && 'command' in args ? String(args.command) : '';
}

/** Which windows the kills have hit, in numbers. */
export function windowsOf(
  calls: readonly CallHistory[],
  logs: readonly LogReading[],
): Record<string, number> {
  const cut = calls.filter(({ finished }) => finished[0]?.outcome === 'unknown');
  const count = (fits: (call: CallHistory) => boolean, of = calls): number =>
    of.filter(fits).length;
  const crossed = (a: SessionEvent | undefined, b: SessionEvent | undefined): boolean =>
    a !== undefined && b !== undefined && a.epoch < b.epoch;
  return {
    calls: calls.length,
    'took effect': count((call) => marksIn(call, 'start') > 0),
    'cut before the command began': count((call) => marksIn(call, 'start') === 0, cut),
    'while it ran': count((call) => marksIn(call, 'start') > 0 && marksIn(call, 'end') === 0, cut),
    'after its end': count((call) => marksIn(call, 'end') > 0, cut),
    'between decision and start': count(({ decided, started }) => crossed(decided[0], started[0])),
    'between request and decision': count(({ requested, decided }) =>
      crossed(requested[0], decided[0]),
    ),
    'asked about': count(({ asked, questions }) => asked.name === 'bash' && questions.length > 0),
    'between question and answer': count(({ questions, answers }) =>
      crossed(questions[0], answers[0]),
    ),
    'between answer and result': count(({ answers, finished }) => crossed(answers[0], finished[0])),
    ...Object.fromEntries(
      [...Map.groupBy(calls, ({ finished }) => finished[0]?.outcome ?? 'open')].map(
        ([outcome, { length }]) => [outcome, length],
      ),
    ),
    sessions: logs.length,
  };
}
