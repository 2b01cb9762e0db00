import type { PlantedBug } from './planted.ts';

const session = 'apps/server/src/core/session';
const tools = 'apps/server/src/runtime/tools';
const sandbox = 'apps/server/src/adapters/sandbox';

/** Faults in how tool calls are run and recorded: the campaign against tools has to find them. */
export const plantedToolBugs: Readonly<Record<string, PlantedBug>> = {
  'run-before-record': {
    what: 'a call takes effect before the record that it was started',
    edits: [
      {
        file: `${tools}/call-runner.ts`,
        find: `  readonly #deps: CallDeps;
`,
        put: `  readonly #deps: CallDeps;
  readonly #early = new Map<string, ToolResult>();
`,
      },
      {
        file: `${tools}/call-runner.ts`,
        find: `    if (why === null) {
`,
        put: `    if (why === null) {
      const { signal } = new AbortController();
      const run = { signal, caller, onOutput: () => undefined };
      this.#early.set(effect.call, await tool.run(ready.args, run));
`,
      },
      {
        file: `${tools}/call-runner.ts`,
        find: `      const ran = await ready.tool.run(`,
        put: `      const early = this.#early.get(call);
      if (early) return end(early, early.outcome);
      const ran = await ready.tool.run(`,
      },
    ],
  },
  'repeated-after-crash': {
    what: 'a call that was cut is run again, whatever its effect',
    edits: [
      {
        file: `${session}/interrupted-calls.ts`,
        find: `return isCut(call, openedSeq) && isHarmless && !call.told && turn.crashes < MAX_CRASH_RESUMES;`,
        put: `return isCut(call, openedSeq);`,
      },
    ],
  },
  'cut-call-left-open': {
    what: 'a call that was cut is not closed, and so is still owed',
    edits: [
      {
        file: `${session}/interrupted-calls.ts`,
        find: `.filter((call) => isCut(call, openedSeq))
    .map(`,
        put: `.filter((call) => repeats(turn, call, openedSeq))
    .map(`,
      },
    ],
  },
  'approval-used-twice': {
    what: 'an approval that was decided can be decided again, and starts its call again',
    edits: [
      {
        file: `${session}/consent.ts`,
        find: `(call) => call.status === 'asked' && call.approval?.approval === approval,`,
        put: `(call) => call.approval?.approval === approval,`,
      },
      {
        file: `${session}/evolve-calls.ts`,
        find: `      if (call.status !== 'asked') return call;
`,
        put: '',
      },
      {
        file: `${session}/evolve-calls.ts`,
        find: `const started = { call: call.call, status`,
        put: `const started = { ...call, status`,
      },
    ],
  },
  'ok-without-running': {
    what: 'a call that was cut is said to have succeeded',
    edits: [
      {
        file: `${session}/unknown-outcome.ts`,
        find: `outcome: 'unknown' as const`,
        put: `outcome: 'ok' as const`,
      },
    ],
  },
  'nobody-asked': {
    what: 'people are not asked what came of a call that was cut',
    edits: [
      {
        file: `${session}/interrupted-calls.ts`,
        find: `return call.onInterrupt === 'ask'`,
        put: `return call.onInterrupt === 'retry'`,
      },
    ],
  },
  'answer-not-told': {
    what: 'the model is not told what people say of a call that was cut',
    edits: [
      {
        file: `${session}/tool-calls.ts`,
        find: `return unknownOutcome(turn, call, output, said);`,
        put: `return unknownOutcome(turn, call, output);`,
      },
    ],
  },
  'refused-and-run': {
    what: 'a call is run whatever people decided',
    edits: [
      {
        file: `${session}/tool-calls.ts`,
        find: `    if (approval.decision === 'allow_once' || approval.decision === 'allow_always') {
      if (mayBegin`,
        put: `    if (approval.decision !== undefined) {
      if (mayBegin`,
      },
    ],
  },
  'hash-unchecked': {
    what: 'what was allowed is not compared with what is run',
    edits: [
      {
        file: `${tools}/call-runner.ts`,
        find: `effect.hash !== undefined && effect.hash !== hashOf(ready)`,
        put: `effect.hash === ''`,
      },
    ],
  },
  'decision-forgotten': {
    what: 'a decision whose call was not started is asked for again after a crash',
    edits: [
      {
        file: `${session}/tool-calls.ts`,
        find: `return rules.now - Date.parse(approval.decided_at) > STALE_MS;`,
        put: `return rules.now > STALE_MS;`,
      },
    ],
  },
  'left-by-bubblewrap': {
    what: 'a command in bubblewrap outlives its server',
    edits: [
      {
        file: `${sandbox}/bubblewrap-arguments.ts`,
        find: `...(diesWithParent ? ['--die-with-parent'] : []),`,
        put: '',
      },
    ],
  },
  'left-by-trust': {
    what: 'a trusted command outlives its server',
    edits: [
      {
        file: `${sandbox}/trust.ts`,
        find: `diesWithParent ? [means.setpriv, '--pdeathsig', 'KILL', '--'] : [];`,
        put: `[];`,
      },
    ],
  },
};
