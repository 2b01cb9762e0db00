import { PassThrough, Writable } from 'node:stream';
import { DuragentError } from '@duragent/protocol';
import type { PostMessage, SessionEvent, SessionView } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import type { ClientFrame } from '../client/event-reader.ts';
import type { SessionClient } from '../client/session-client.ts';
import { Conversation } from './conversation.ts';
import { conversePiped } from './piped.ts';
import { PlainStage } from './plain-stage.ts';

const at = '2026-01-01T00:00:00.000Z';
const usage = { input_tokens: 1, output_tokens: 1 };
const session = { session: 'session_x', agent: 'helper' } as SessionView;

/** A session without a server: each message is answered by `reply`, or not at all where that is null. */
class FakeSession {
  readonly calls: string[] = [];
  readonly #frames: ClientFrame[] = [{ kind: 'delta', delta: { type: 'caught_up', seq: 0 } }];
  #wake: () => void = () => undefined;
  #seq = 0;
  #turn: string | null = null;
  readonly reply: ((text: string) => string) | null;
  readonly outcome: string;

  constructor(reply: ((text: string) => string) | null, outcome = 'completed') {
    this.reply = reply;
    this.outcome = outcome;
  }

  asClient(): SessionClient {
    return this as unknown as SessionClient;
  }

  record(fields: Record<string, unknown>): number {
    this.#seq += 1;
    this.push({
      kind: 'event',
      event: { seq: this.#seq, epoch: 1, at, ...fields } as unknown as SessionEvent,
    });
    return this.#seq;
  }

  /** Something that was recorded before the client came. */
  unshift(fields: Record<string, unknown>): void {
    this.record(fields);
    this.#frames.push(...this.#frames.splice(0, 1));
  }

  push(frame: ClientFrame): void {
    this.#frames.push(frame);
    this.#wake();
  }

  async *events(_: string, { signal }: { signal: AbortSignal }): AsyncGenerator<ClientFrame> {
    signal.addEventListener('abort', () => this.#wake());
    for (let next = 0; !signal.aborted;) {
      const frame = this.#frames[next];
      if (frame !== undefined) {
        next += 1;
        yield frame;
      } else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  post(_: string, message: PostMessage): Promise<{ seq: number; message_id: string; turn: null }> {
    const text = typeof message.content === 'string' ? message.content : '';
    this.calls.push(`post ${text}`);
    const id = `msg_${this.calls.length}`;
    const source = { kind: 'cli', sender: message.sender };
    const content = [{ type: 'text', text }];
    const seq = this.record({
      type: 'user_message',
      message_id: id,
      source,
      content,
      handling: 'turn',
    });
    this.#turn = `turn_${this.calls.length}`;
    this.record({ type: 'turn_started', turn: this.#turn, trigger: [id] });
    if (this.reply !== null) setTimeout(() => this.finish(this.reply?.(text) ?? ''), 10);
    return Promise.resolve({ seq, message_id: id, turn: null });
  }

  finish(text: string, outcome = this.outcome): void {
    const turn = this.#turn;
    this.record({
      type: 'assistant_message',
      turn,
      step: 1,
      attempt: 1,
      message_id: 'm',
      input_seq: this.#seq,
      content: [{ type: 'text', text }],
      tool_calls: [],
      finish_reason: 'stop',
      usage,
      model: 'echo',
      deliveries: [],
    });
    this.record({ type: 'turn_finished', turn, outcome, usage });
  }

  cancel(): Promise<void> {
    this.calls.push('cancel');
    return Promise.resolve();
  }

  control(_: string, what: string): Promise<void> {
    this.calls.push(what);
    return Promise.resolve();
  }

  decide(_: string, approval: string, decision: string): Promise<void> {
    this.calls.push(`${decision} ${approval}`);
    return Promise.resolve();
  }

  answer(_: string, question: string, text: string): Promise<void> {
    this.calls.push(`answer ${question} ${text}`);
    return Promise.resolve();
  }

  end(_: string, reason: string): Promise<void> {
    this.calls.push(`end ${reason}`);
    return Promise.resolve();
  }
}

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function pipe(fake: FakeSession, input: string) {
  const [stdin, stdout, stderr] = [new PassThrough(), new Sink(), new Sink()];
  stdin.end(input);
  const options = {
    client: fake.asClient(),
    session,
    me: 'ann',
    readOnly: false,
    raw: false,
    quiet: false,
  };
  const end = await conversePiped({ stdin, stdout, stderr }, options);
  return { end, out: stdout.text, notes: stderr.text };
}

describe('what is piped in', () => {
  it('is sent line by line, each after the answer to the one before, and waits for the last answer', async () => {
    const fake = new FakeSession((text) => `You said ${text}`);
    const { end, out } = await pipe(fake, 'one\n\r\n two\r\nthree');
    expect(fake.calls).toEqual(['post one', 'post  two', 'post three']);
    expect(out).toBe('You said one\nYou said  two\nYou said three\n');
    expect(end).toMatchObject({ how: 'detached', lastOutcome: 'completed', failures: 0 });
  });

  it('tells how the last turn ended', async () => {
    const { end } = await pipe(new FakeSession(() => '', 'failed'), 'one\n');
    expect(end.lastOutcome).toBe('failed');
  });

  it('does not count how a turn ended before', async () => {
    const fake = new FakeSession(null);
    fake.unshift({ type: 'turn_finished', turn: 'turn_0', outcome: 'cancelled', usage });
    const { end } = await pipe(fake, '');
    expect(end.lastOutcome).toBeNull();
  });

  it('may hold commands, and unknown ones send nothing', async () => {
    const fake = new FakeSession((text) => text);
    const { end, notes } = await pipe(fake, '/foo bar\n/etc/hosts is a file\n/quit\nnever\n');
    expect(fake.calls).toEqual(['post /etc/hosts is a file', 'end user']);
    expect(notes).toContain('Unknown command /foo.');
    expect(end.how).toBe('quit');
  });

  it('is refused when a line is too long', async () => {
    await expect(pipe(new FakeSession(null), 'x'.repeat(600 * 1024))).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

function converse(fake: FakeSession, more: { readOnly?: boolean } = {}) {
  const [out, notes] = [new Sink(), new Sink()];
  const conversation = new Conversation({
    client: fake.asClient(),
    session,
    stage: new PlainStage(out, notes, { quiet: false }),
    me: 'ann',
    echo: true,
    readOnly: false,
    raw: false,
    quiet: false,
    ...more,
  });
  return { conversation, running: conversation.run(), out, notes };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('did not happen in 5 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('Conversation', () => {
  it('shows what I sent once, and the same text of another once more', async () => {
    const fake = new FakeSession(() => 'ok');
    const { conversation, running, out } = converse(fake);
    await conversation.caughtUp();
    await conversation.submit('hello');
    await until(() => out.text.includes('ok'));
    fake.record({
      type: 'user_message',
      message_id: 'msg_other',
      source: { kind: 'cli', sender: { name: 'ann' } },
      content: [{ type: 'text', text: 'hello' }],
      handling: 'passive',
    });
    await until(() => out.text.includes('ann (terminal)'));
    conversation.leave('detached');
    await running;
    expect(out.text).toBe('> hello\nok\nann (terminal): hello\n');
  });

  it('cancels the turn at the first Ctrl-C and leaves at the second', async () => {
    const fake = new FakeSession(null);
    const { conversation, running } = converse(fake);
    await conversation.submit('work');
    conversation.interrupt();
    await until(() => fake.calls.includes('cancel'));
    expect(conversation.signal.aborted).toBe(false);
    conversation.interrupt();
    expect(await running).toMatchObject({ how: 'detached' });
  });

  it('says at the first Ctrl-C how to leave when nothing works', async () => {
    const { conversation, running, notes } = converse(new FakeSession(null));
    await conversation.caughtUp();
    conversation.interrupt();
    expect(notes.text).toContain('Ctrl-D detaches');
    expect(conversation.signal.aborted).toBe(false);
    conversation.interrupt();
    await running;
  });

  it('sends nothing, and ends nothing, when it is read-only', async () => {
    const fake = new FakeSession(() => 'ok');
    const { conversation, running, notes } = converse(fake, { readOnly: true });
    await conversation.submit('hello');
    await conversation.submit('/quit');
    await conversation.submit('/pause');
    conversation.leave('detached');
    await running;
    expect(fake.calls).toEqual([]);
    expect(notes.text.match(/read-only/g)).toHaveLength(3);
  });

  it('pauses the session and lets it go on, and says who did', async () => {
    const fake = new FakeSession(null);
    const { conversation, running, notes } = converse(fake);
    await conversation.caughtUp();
    await conversation.submit('/pause');
    fake.record({ type: 'session_paused', by: 'telegram:7' });
    await until(() => conversation.held);
    await conversation.submit('/resume');
    fake.record({ type: 'session_resumed', by: 'http:file' });
    await until(() => !conversation.held);
    conversation.leave('detached');
    await running;
    expect(fake.calls).toEqual(['pause', 'resume']);
    expect(notes.text).toContain('Paused by telegram:7: messages wait until /resume.');
    expect(notes.text).toContain('Resumed by http:file.');
  });

  it('ends with the session', async () => {
    const fake = new FakeSession(null);
    const { running } = converse(fake);
    fake.record({ type: 'session_ended', reason: 'operator' });
    expect(await running).toMatchObject({ how: 'ended' });
  });

  it('says that the connection was lost, why, and that it is mended', async () => {
    const fake = new FakeSession(null);
    const { conversation, running, notes } = converse(fake);
    const error = new DuragentError('no_server', 'The server was stopped.');
    fake.push({ kind: 'lost', error, first: true });
    await until(() => !conversation.connected);
    fake.push({ kind: 'lost', error, first: false });
    fake.push({ kind: 'mended' });
    await until(() => notes.text.includes('again.'));
    expect(conversation.connected).toBe(true);
    conversation.leave('detached');
    await running;
    expect(notes.text).toBe(
      'Connection lost; trying again …\nThe server was stopped.\nConnected again.\n',
    );
  });
});

describe('what waits for people', () => {
  const approval = (n: number, always: string | null = null) => ({
    type: 'approval_requested',
    turn: 'turn_1',
    call: `call_${String(n)}`,
    approval: `appr_${String(n)}`,
    tool: 'bash',
    shown: 'ls',
    reason: 'no rule allows it',
    always,
    deliveries: [],
  });
  const question = (choices?: string[]) => ({
    type: 'question_asked',
    turn: 'turn_1',
    call: 'call_9',
    question: 'q_9',
    text: 'Which?',
    ...(choices ? { choices } : {}),
    deliveries: [],
  });

  async function asked(about: Record<string, unknown>, more: { readOnly?: boolean } = {}) {
    const fake = new FakeSession(null);
    fake.record(about);
    const all = converse(fake, more);
    await until(() => all.conversation.asked !== null);
    const type = async (...lines: string[]): Promise<string[]> => {
      for (const line of lines) await all.conversation.submit(line);
      all.conversation.leave('detached');
      await all.running;
      return fake.calls;
    };
    return { ...all, fake, type };
  }

  it.each([
    ['y', 'allow_once'],
    [' Y ', 'allow_once'],
    ['a', 'allow_always'],
    ['n', 'deny'],
    ['/approve', 'allow_once'],
    ['/approve always', 'allow_always'],
    ['/approve appr_1', 'allow_once'],
    ['/approve appr_1 always', 'allow_always'],
    ['/deny', 'deny'],
    ['/deny appr_1', 'deny'],
  ])('is decided by %j: %s', async (line, decision) => {
    const { type } = await asked(approval(1, 'bash:ls'));
    expect(await type(line)).toEqual([`${decision} appr_1`]);
  });

  it.each(['yes', 'no', 'y y', 'ok', '1'])('is not decided by %j, which is said', async (line) => {
    const { type } = await asked(approval(1));
    expect(await type(line)).toEqual([`post ${line}`]);
  });

  it('is not decided where the command is wrong, and nothing is sent', async () => {
    const { type, notes } = await asked(approval(1));
    expect(await type('/approve appr_2', '/deny appr_2', '/approve it', '/answer 1')).toEqual([]);
    expect(notes.text.match(/No such approval waits/g)).toHaveLength(2);
  });

  it('is nothing any more once somebody else has decided', async () => {
    const { fake, conversation, type } = await asked(approval(1));
    fake.record({ type: 'approval_decided', call: 'call_1', decision: 'deny', by: 'telegram:7' });
    await until(() => conversation.asked === null);
    expect(await type('y')).toEqual(['post y']);
  });

  it('is decided nowhere that is read-only', async () => {
    const { type, notes } = await asked(approval(1), { readOnly: true });
    expect(await type('y', 'n', '/approve', '/deny')).toEqual([]);
    expect(notes.text.match(/read-only/g)).toHaveLength(4);
  });

  it.each([
    ['1', 'dark blue'],
    ['/answer 2', '1'],
    ['/answer q_9 2', '1'],
    ['/answer dark blue', 'dark blue'],
  ])('is answered by %j: %s', async (line, answer) => {
    // The number counts, also where another choice is that number.
    const { type } = await asked(question(['dark blue', '1']));
    expect(await type(line)).toEqual([`answer q_9 ${answer}`]);
  });

  it.each(['3', '0', 'y'])('with choices is not answered by %j, which is said', async (line) => {
    const { type } = await asked(question(['red', 'blue']));
    expect(await type(line)).toEqual([`post ${line}`]);
  });

  it('without choices is answered by whatever is said, as anywhere', async () => {
    const { type } = await asked(question());
    expect(await type('y', '/answer /etc/hosts')).toEqual(['post y', 'answer q_9 /etc/hosts']);
  });
});
