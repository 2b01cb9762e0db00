import { gatewayErrorCodeSchema, type GatewayAnswer } from '@duragent/protocol';
import { ending, type Bench } from './bench.ts';
import type { GatewayProcess } from './gateway-process.ts';
import { describe, typeOf } from './handshake-rules.ts';
import { Broken, type Rule } from './rule.ts';

const SHUTDOWN_MS = 3000;
/** What a busy machine may need beyond a deadline. */
const SLACK_MS = 1000;

/** How a gateway ends, and is started again. */
export const endRules: readonly Rule[] = [
  {
    id: 'shutdown',
    rule: 'Answers shutdown with a shutdown event and ends with exit code 0, in time.',
    section: 'To a gateway: `shutdown`',
    async check(bench) {
      const run = await bench.gateway();
      run.send({ type: 'shutdown', deadline_ms: SHUTDOWN_MS });
      await run.until(() => run.exit, SHUTDOWN_MS + SLACK_MS);
      if (run.exit === null) throw new Broken(`it still runs after ${SHUTDOWN_MS} ms`);
      // What is in the pipe is read before it is judged.
      await run.until(() => run.isClosed, SLACK_MS);
      if (!run.events.some(({ type }) => type === 'shutdown')) {
        throw new Broken(`${ending(run)}, without a shutdown event`);
      }
      if (run.exit.code !== 0) throw new Broken(ending(run));
    },
  },
  {
    id: 'silent-after-shutdown',
    rule: 'Writes nothing after its shutdown event.',
    section: 'From a gateway: `shutdown`',
    check(bench) {
      for (const { lines } of bench.runs) {
        const at = lines.findIndex((line) => typeOf(line) === 'shutdown');
        const [late] = at < 0 ? [] : lines.slice(at + 1);
        if (late !== undefined) throw new Broken(`after it came ${describe(late)}`);
      }
    },
  },
  {
    id: 'open-answered',
    rule: 'Answers what is open before it says shutdown.',
    section: 'Supervision of a gateway',
    needs: 'send-message',
    async check(bench) {
      const run = await bench.start();
      const requests = [1, 2, 3].map((n) => ({
        request_id: bench.newId(),
        ...bench.message(`A test: message ${n} of 3 before shutdown.`),
      }));
      run.send(...requests, { type: 'shutdown', deadline_ms: SHUTDOWN_MS });
      await run.until(() => run.isClosed, SHUTDOWN_MS + SLACK_MS);
      const open = requests.filter(
        ({ request_id: id }) => run.requests.get(id)?.answers[0] == null,
      );
      if (open.length > 0)
        throw new Broken(`it ended with ${open.length} of 3 requests unanswered`);
    },
  },
  {
    id: 'restart',
    rule: 'Starts again with the cursor that it gave.',
    section: 'Arrivals: exactly once',
    async check(bench) {
      const run = await bench.start(bench.newestCursor);
      await bench.checkAlive(run, 'a restart');
    },
  },
  {
    id: 'stdin-end',
    rule: 'Ends with exit code 0 when its stdin ends.',
    section: 'Supervision of a gateway',
    async check(bench) {
      const run = await bench.gateway();
      run.endInput();
      await checkEnds(bench, run);
      if (run.exit?.code !== 0) throw new Broken(ending(run));
    },
  },
  {
    id: 'stdin-end-early',
    rule: 'Ends when its stdin ends before anything came.',
    section: 'Supervision of a gateway',
    unready: true,
    async check(bench) {
      const run = await bench.launch();
      run.endInput();
      await checkEnds(bench, run);
    },
  },
  {
    id: 'stdin-end-busy',
    rule: 'Ends when its stdin ends, also in the middle of work.',
    section: 'Supervision of a gateway',
    async check(bench) {
      const run = await bench.start();
      const requests = Array.from({ length: 4 }, (_, n) => ({
        request_id: bench.newId(),
        ...bench.message(`A test: message ${n + 1} of 4 before the end.`),
      }));
      run.send(...requests);
      run.endInput();
      await checkEnds(bench, run);
    },
  },
  {
    id: 'server-gone',
    rule: 'Ends when the server is gone, and nobody reads what it writes.',
    section: 'Supervision of a gateway',
    async check(bench) {
      const run = await bench.start();
      run.send(...Array.from({ length: 50 }, () => ({ type: 'ping', request_id: bench.newId() })));
      run.abandon();
      await checkEnds(bench, run);
    },
  },
  {
    id: 'nothing-left',
    rule: 'Ends when its stdin ends at once after ready, and leaves no process behind.',
    section: 'Supervision of a gateway',
    async check(bench) {
      const run = await bench.start();
      run.endInput();
      await checkEnds(bench, run);
      if ((await run.until(() => run.isClosed, SLACK_MS)) !== null) return;
      throw new Broken('it ended, and something that it started still runs');
    },
  },
];

/** What holds for every line of every run: asked when all else is over. */
export const lastRules: readonly Rule[] = [
  {
    id: 'stdout-json',
    rule: 'Writes nothing but lines of JSON to stdout, each of at most 1 MiB and 64 levels.',
    section: 'Transport',
    unready: true,
    check(bench) {
      if (bench.runs.some((run) => run.hasByteOrderMark)) {
        throw new Broken('a line of its stdout begins with a byte order mark');
      }
      for (const line of linesOf(bench)) {
        if (!('fault' in line)) continue;
        const { kind } = line.fault;
        if (kind === 'not_json' || kind === 'too_long' || kind === 'too_deep') {
          throw new Broken(`its stdout has ${describe(line)}`);
        }
      }
    },
  },
  {
    id: 'events-valid',
    rule: 'Writes only events that are valid to their schema.',
    section: 'Transport',
    check(bench) {
      for (const line of linesOf(bench)) {
        if (!('fault' in line)) continue;
        const { kind } = line.fault;
        // An invalid ready has a rule of its own.
        if (typeOf(line) !== 'ready' && (kind === 'invalid' || kind === 'unknown')) {
          throw new Broken(`it wrote ${describe(line)}`);
        }
      }
    },
  },
  {
    id: 'one-answer',
    rule: 'Answers each request once, under its request_id, and nothing else.',
    section: 'Transport',
    check(bench) {
      for (const { requests, unasked } of bench.runs) {
        for (const [id, { type, answers }] of requests) {
          if (answers.length > 1) {
            throw new Broken(`it answered the ${type} ${id} ${answers.length} times`);
          }
          const wrong = answers.find((answer) => !isAnswerTo(type, answer));
          if (wrong !== undefined) throw new Broken(`it answered a ${type} with ${wrong.type}`);
        }
        const [first] = unasked;
        if (first !== undefined) {
          throw new Broken(
            `a ${first.type} answers ${JSON.stringify(first.request_id)}, which was never asked`,
          );
        }
      }
    },
  },
  {
    id: 'error-codes',
    rule: 'Refuses with the error codes of v1.',
    section: 'Refusals of a gateway',
    check(bench) {
      for (const { events } of bench.runs) {
        for (const event of events) {
          if (event.type !== 'command_error') continue;
          if (!gatewayErrorCodeSchema.safeParse(event.code).success) {
            throw new Broken(`it refused with ${JSON.stringify(event.code)}`);
          }
        }
      }
    },
  },
];

function linesOf(bench: Bench): GatewayProcess['lines'] {
  return bench.runs.flatMap(({ lines }) => lines);
}

async function checkEnds(bench: Bench, run: GatewayProcess): Promise<void> {
  const { exitMs } = bench.options;
  if ((await run.until(() => run.exit, exitMs)) === null) {
    throw new Broken(`it still runs after ${exitMs} ms`);
  }
}

function isAnswerTo(type: string, { type: answer }: GatewayAnswer): boolean {
  if (answer === 'command_error') return true;
  if (type === 'ping') return answer === 'pong';
  if (type === 'find_message') return answer === 'message_found' || answer === 'message_not_found';
  return answer === 'command_ok';
}
