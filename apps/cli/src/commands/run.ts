import { isKnownEvent, DuragentError, type EventOf, type TurnOutcome } from '@duragent/protocol';
import { connect } from '../client/connect.ts';
import type { SessionClient } from '../client/session-client.ts';
import type { CliContext } from '../context.ts';
import { exitCodeOf, type ExitCode } from '../exit-codes.ts';
import { AnswerWriter } from '../terminal/answer-writer.ts';
import { myName } from '../terminal/my-name.ts';
import { sanitize } from '../terminal/sanitize.ts';
import { TurnWatch } from '../terminal/turn-watch.ts';

/** The longest input that is appended to the prompt, in bytes. */
const MAX_INPUT = 900 * 1024;

/** How long a server that is gone is waited for, in ms. */
const PATIENCE_MS = 60_000;

/** What `-o json` prints. */
interface RunResult {
  session: string;
  turn: string | null;
  outcome: TurnOutcome | 'none';
  text: string;
  usage: EventOf<'turn_finished'>['usage'] | null;
  error?: EventOf<'turn_finished'>['error'];
}

/**
 * `duragent run`: one message in a new session; the answer, and nothing else, goes to stdout.
 * Ends with 0 when the turn completed, 1 when it failed or was cancelled (Ctrl-C does that).
 */
export async function run(
  context: CliContext,
  prompt: string | undefined,
  options: { agent?: string; output: 'text' | 'json' },
): Promise<ExitCode> {
  const content = [prompt ?? '', await readInput(context)]
    .filter((part) => part.trim() !== '')
    .join('\n\n');
  if (content === '') {
    throw new DuragentError(
      'usage',
      'run needs a prompt: duragent run "What is …", or text on its input.',
    );
  }
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const { session } = await client.createSession(
    { agent: options.agent, origin: 'cli' },
    { signal },
  );
  const writer = options.output === 'text' ? new AnswerWriter(context.stdout) : null;
  const result = await follow(context, client, session, content, writer);
  if (options.output === 'json') context.stdout.write(`${JSON.stringify(result)}\n`);
  if (result.error !== undefined)
    context.stderr.write(`duragent: ${sanitize(result.error.message)}\n`);
  else if (result.outcome !== 'completed')
    context.stderr.write(`duragent: the turn ended as ${result.outcome}.\n`);
  if (context.globals.verbose > 0) context.stderr.write(`${session} · ${result.outcome}\n`);
  if (result.outcome === 'completed') return 0;
  return result.error === undefined ? 1 : exitCodeOf({ code: 'failed' });
}

async function follow(
  context: CliContext,
  client: SessionClient,
  session: string,
  content: string,
  writer: AnswerWriter | null,
): Promise<RunResult> {
  let giveUp: NodeJS.Timeout | undefined;
  const watch = new TurnWatch();
  const done = new AbortController();
  const result: RunResult = { session, turn: null, outcome: 'none', text: '', usage: null };
  const note = (text: string): void => {
    if (!context.globals.quiet) context.stderr.write(`${text}\n`);
  };
  let interrupted = false;
  const onInterrupt = (): void => {
    if (interrupted) process.exit(1);
    interrupted = true;
    note('Cancelling … (Ctrl-C again leaves at once)');
    client.cancel(session, { signal: done.signal }).catch((error: unknown) => done.abort(error));
  };
  process.on('SIGINT', onInterrupt);
  try {
    const frames = client.events(session, { after: 0, signal: done.signal });
    const posting = client
      .post(
        session,
        { content, origin: 'cli', sender: { name: myName() } },
        { signal: done.signal, patienceMs: PATIENCE_MS },
      )
      .catch((error: unknown) => {
        done.abort(error);
        throw error;
      });
    posting.catch(() => undefined); // awaited below; the stream may fail first
    for await (const frame of frames) {
      if (frame.kind === 'lost') {
        if (frame.first) {
          giveUp = setTimeout(() => done.abort(serverGone(session)), PATIENCE_MS);
        }
        note(frame.first ? 'Connection lost; trying again …' : sanitize(frame.error.message));
      } else if (frame.kind === 'mended') {
        clearTimeout(giveUp);
        note('Connected again.');
      } else if (frame.kind === 'delta') {
        if (frame.delta.type === 'token') writer?.add(frame.delta);
      } else {
        watch.apply(frame.event);
        if (!isKnownEvent(frame.event)) continue;
        if (frame.event.type === 'turn_started') result.turn = frame.event.turn;
        if (frame.event.type === 'assistant_message') {
          const text = frame.event.content
            .map((part) => (part.type === 'text' ? part.text : ''))
            .join('');
          writer?.settle(frame.event, text);
          if (text !== '') result.text = text;
        }
        if (frame.event.type === 'turn_finished') {
          result.outcome = frame.event.outcome;
          result.usage = frame.event.usage;
          result.error = frame.event.error;
          break;
        }
        if (watch.ended) break;
      }
    }
    await posting;
    if (done.signal.aborted) throw done.signal.reason;
    return result;
  } finally {
    clearTimeout(giveUp);
    writer?.end();
    done.abort();
    process.off('SIGINT', onInterrupt);
  }
}

function serverGone(session: string): DuragentError {
  return new DuragentError(
    'no_server',
    `The server has been gone for ${String(PATIENCE_MS / 1000)} s. Start it (duragent serve) and see the answer with \`duragent attach ${session}\`.`,
  );
}

/** What is piped in. A terminal is not waited for. */
async function readInput(context: CliContext): Promise<string> {
  if (context.stdin.isTTY) return '';
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of context.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_INPUT)
      throw new DuragentError('usage', 'The input is larger than 900 KiB. Give less.');
  }
  return Buffer.concat(chunks).toString('utf8');
}
