import type { Delivery, Delta, SessionEvent } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { Sanitizer } from './sanitize.ts';
import type { Stage } from './stage.ts';
import { Transcript } from './transcript.ts';

const common = { epoch: 1, at: '2026-01-01T00:00:00.000Z' };
const usage = { input_tokens: 12, output_tokens: 34 };
let seq = 0;

/** Writes down what it is told; pieces of one text on one line. */
class NotedStage implements Stage {
  readonly said_: string[] = [];
  #open: string | null = null;

  begin(kind: 'answer' | 'reasoning'): void {
    this.finish();
    this.#open = `${kind}: `;
  }
  text(text: string): void {
    this.#open += text;
  }
  finish(): void {
    if (this.#open !== null) this.said_.push(this.#open);
    this.#open = null;
  }
  said(who: string | null, text: string): void {
    this.said_.push(`${who ?? 'me'}: ${text}`);
  }
  tool(text: string): void {
    this.finish();
    this.said_.push(`tool: ${text}`);
  }
  progress(text: string): void {
    this.said_.push(`progress: ${text}`);
  }
  note(text: string): void {
    this.said_.push(`note: ${text}`);
  }
  turnEnd(text: string): void {
    this.finish();
    this.said_.push(`end: ${text}`);
  }
}

function setUp(own: (message: { text: string }) => boolean = () => false) {
  const stage = new NotedStage();
  const options = {
    stage,
    agent: 'helper',
    me: 'ann',
    own,
    quiet: false,
    filter: () => new Sanitizer(),
  };
  const transcript = new Transcript(options);
  return { transcript, told: stage.said_ };
}

function token(offset: number, text: string, attempt = 1): Delta {
  return { type: 'token', turn: 'turn_1', step: 1, attempt, offset, text };
}

function answer(
  text: string,
  more: Partial<Extract<SessionEvent, { type: 'assistant_message' }>> = {},
): SessionEvent {
  return {
    ...common,
    seq: ++seq,
    type: 'assistant_message',
    turn: 'turn_1',
    step: 1,
    attempt: 1,
    message_id: 'msg_2',
    input_seq: 2,
    content: [{ type: 'text', text }],
    tool_calls: [],
    finish_reason: 'stop',
    usage,
    model: 'echo/echo',
    deliveries: [],
    ...more,
  };
}

function message(text: string, name = 'ann', kind: 'cli' | 'http' = 'cli'): SessionEvent {
  return {
    ...common,
    seq: ++seq,
    type: 'user_message',
    message_id: `msg_${seq}`,
    source: { kind, sender: { name } },
    content: [{ type: 'text', text }],
    handling: 'turn',
  };
}

const finished = (outcome: 'completed' | 'failed' | 'cancelled' = 'completed'): SessionEvent => ({
  ...common,
  seq: ++seq,
  type: 'turn_finished',
  turn: 'turn_1',
  outcome,
  usage,
  ...(outcome === 'failed' ? { error: { code: 'model_failed', message: 'No key. Set one.' } } : {}),
});
const resumed: SessionEvent = {
  ...common,
  seq: ++seq,
  type: 'turn_resumed',
  turn: 'turn_1',
  cause: 'crash',
  attempt: 2,
};
const chat = { gateway: 'telegram', account: 'telegram', chat_id: '-100' };
const delivery: Delivery = {
  out: 'out_1',
  ...chat,
  format: 'markdown',
  on_uncertain: 'resend_marked',
  expires_at: common.at,
  parts: [{ prefix: '', from: 0, to: 2, suffix: '' }],
};

function delivered(
  outcome: 'delivered' | 'failed' | 'dead',
  error?: { code: string; message: string },
): SessionEvent {
  const fields = { out: 'out_1', part: 1, attempt: 1, outcome };
  const event = { ...common, seq: ++seq, type: 'delivery_finished' as const, ...fields };
  return error === undefined ? event : { ...event, error };
}

const live: Delta = { type: 'caught_up', seq: 0 };

describe('an answer', () => {
  it('is shown once, though its deltas and its record both hold it', () => {
    const { transcript, told } = setUp();
    transcript.delta(live);
    transcript.delta(token(0, 'Hel'));
    transcript.delta(token(3, 'lo'));
    transcript.event(answer('Hello'));
    transcript.event(finished());
    expect(told).toEqual([
      'answer: Hello',
      'end: helper · completed · 12 tokens in, 34 out · echo/echo',
    ]);
  });

  it('goes on after a lost connection, when the text so far comes again', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'Hello '));
    transcript.delta(token(0, 'Hello wor'));
    transcript.delta(token(2, 'llo'));
    transcript.delta(token(9, 'ld'));
    transcript.event(answer('Hello world'));
    expect(told).toEqual(['answer: Hello world']);
  });

  it('is completed by its record when deltas are missing', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'Hello '));
    transcript.delta(token(50, 'lost'));
    transcript.event(answer('Hello world'));
    expect(told).toEqual(['answer: Hello world']);
  });

  it('begins anew with another attempt, and says so', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'Hello wor'));
    transcript.delta(token(0, 'Good ', 2));
    transcript.delta(token(5, 'day', 2));
    transcript.event(answer('Good day', { attempt: 2 }));
    expect(told).toEqual(['answer: Hello wor', 'note: ↻ answer started again', 'answer: Good day']);
  });

  it('begins anew after a crash of the server, and says both', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'Hello wor'));
    transcript.event(resumed);
    transcript.event(answer('Hello world', { attempt: 2 }));
    expect(told).toEqual([
      'answer: Hello wor',
      'note: ↻ The server was interrupted; the turn goes on.',
      'note: ↻ answer started again',
      'answer: Hello world',
    ]);
  });

  it('begins anew when its record contradicts what was shown', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'Hello'));
    transcript.event(answer('Goodbye'));
    expect(told).toEqual(['answer: Hello', 'note: ↻ answer started again', 'answer: Goodbye']);
  });

  it('shows reasoning before it, once', () => {
    const { transcript, told } = setUp();
    transcript.delta({
      type: 'reasoning',
      turn: 'turn_1',
      step: 1,
      attempt: 1,
      offset: 0,
      text: 'Hm',
    });
    transcript.delta(token(0, 'Hi'));
    transcript.event(
      answer('', {
        content: [
          { type: 'reasoning', text: 'Hm' },
          { type: 'text', text: 'Hi' },
        ],
      }),
    );
    expect(told).toEqual(['reasoning: Hm', 'answer: Hi']);
  });

  it('never carries a control sequence, though it is cut between deltas', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'a\x1b'));
    transcript.delta(token(2, '[2'));
    transcript.delta(token(4, 'Jb'));
    transcript.event(answer('a\x1b[2Jb'));
    expect(told).toEqual(['answer: ab']);
  });

  it('keeps a surrogate pair together that two deltas share', () => {
    const { transcript, told } = setUp();
    transcript.delta(token(0, 'a\ud83d'));
    transcript.delta(token(2, '\ude00b'));
    transcript.event(answer('a😀b'));
    expect(told).toEqual(['answer: a😀b']);
  });
});

describe('messages of people', () => {
  it('of others are named, with the place they come from', () => {
    const { transcript, told } = setUp();
    transcript.delta(live);
    transcript.event(message('hi', 'bob'));
    transcript.event(message('hello', 'ci\x1b[2J', 'http'));
    transcript.event(message('from my other terminal'));
    expect(told).toEqual([
      'bob (terminal): hi',
      'ci (http): hello',
      'ann (terminal): from my other terminal',
    ]);
  });

  it('of a chat are named with its gateway, and files by their names', () => {
    const { transcript, told } = setUp();
    transcript.event({
      ...common,
      seq: ++seq,
      type: 'user_message',
      handling: 'passive',
      message_id: 'msg_9',
      source: {
        kind: 'gateway',
        sender: { name: 'Bob', id: '5' },
        chat: { ...chat, gateway: 'tele\x1b[2Jgram', chat_type: 'group', message_id: '7' },
      },
      content: [
        { type: 'text', text: 'look ' },
        { type: 'file', artifact: 'art_1', name: 'a\x1b[2J\nb.png', mime: 'image/png', size: 3 },
      ],
    });
    expect(told).toEqual(['Bob (telegram): look [file: a b.png]']);
  });

  it('of mine are told in the history, and not again when I just sent them', () => {
    const { transcript, told } = setUp(({ text }) => text === 'just sent');
    transcript.event(message('yesterday'));
    transcript.delta(live);
    transcript.event(message('just sent'));
    expect(told).toEqual(['me: yesterday']);
  });
});

describe('what waits for people', () => {
  const request = {
    ...common,
    seq: 1,
    type: 'approval_requested',
    turn: 'turn_1',
    call: 'call_1',
    approval: 'appr_1',
    tool: 'bash',
    shown: 'ls',
    command: { argv: ['ls'], cwd: '/work', env: {} },
    hash: '00',
    reason: 'no rule allows it',
    always: null,
    expires_at: null,
    deliveries: [],
  } as const satisfies SessionEvent;

  it('shows all of what an approval is about, and how to decide', () => {
    const { transcript, told } = setUp();
    const command = { argv: ['ls'], cwd: '/work', env: { A: '1', B: '2' } };
    transcript.event({ ...request, command, always: 'bash:ls' });
    expect(told).toEqual([
      'note: 🔐 bash asks for consent:\n│ ls\nin /work A=1 B=2\nno rule allows it\ny and Enter allows it once, a allows it always, n denies it.',
    ]);
  });

  it('writes out what cannot be seen, wherever it stands', () => {
    const { transcript, told } = setUp();
    const odd = '\u202ea\u001b[2Jb\r\u009bc\u00ad\u{e0041}';
    const seen = '⟨U+202E⟩a⟨U+001B⟩[2Jb⟨U+000D⟩⟨U+009B⟩c⟨U+00AD⟩⟨U+E0041⟩';
    const command = { argv: ['x'], cwd: odd, env: { [odd]: odd } };
    transcript.event({ ...request, tool: odd, shown: odd, reason: odd, command });
    transcript.event({
      ...common,
      seq: 2,
      type: 'question_asked',
      turn: 'turn_1',
      call: 'call_2',
      question: 'q_1',
      text: odd,
      choices: [odd, 'no'],
      expires_at: null,
      deliveries: [],
    });
    expect(told).toEqual([
      `note: 🔐 ${seen} asks for consent:\n│ ${seen}\nin ${seen} ${seen}=${seen}\n${seen}\ny and Enter allows it once, n denies it.`,
      `note: ❓ ${seen}\n1. ${seen}\n2. no\nThe number and Enter picks one.`,
    ]);
  });

  it('lets no line of a command pass for a word of ours', () => {
    const { transcript, told } = setUp();
    transcript.event({ ...request, shown: 'rm -rf x\n\nin /tmp\nn denies it.' });
    expect(told[0]).toContain('consent:\n│ rm -rf x\n│ \n│ in /tmp\n│ n denies it.\nin /work\n');
  });

  it('says who decided or answered, and that nobody did', () => {
    const { transcript, told } = setUp();
    const decided = { ...common, seq: 2, turn: 'turn_1', call: 'call_1', approval: 'appr_1' };
    const type = 'approval_decided';
    transcript.event({ ...decided, type, decision: 'allow_once', by: 'telegram:\u001b[31m7' });
    transcript.event({ ...decided, type, decision: 'expire', by: 'server' });
    const answered = { ...common, seq: 3, turn: 'turn_1', call: 'call_2', question: 'q_1' };
    transcript.event({ ...answered, type: 'question_answered', answer: 'a\u202eb', by: 'cli' });
    transcript.event({ ...answered, type: 'question_answered', answer: null, by: 'server' });
    expect(told).toEqual([
      'note: ✓ Allowed once (telegram:7)',
      'note: ✗ Nobody allowed it in time (server)',
      'note: Answered: a⟨U+202E⟩b (cli)',
      'note: Nobody answered in time.',
    ]);
  });
});

describe('what else happens', () => {
  it('shows tool calls on one line each, their result folded', () => {
    const { transcript, told } = setUp();
    const call = {
      call: 'call_1',
      provider_call_id: 'p',
      name: 'bash',
      arguments: { command: 'ls\n' },
    };
    transcript.event(answer('', { tool_calls: [call], finish_reason: 'tool_calls' }));
    transcript.event({
      ...common,
      seq: ++seq,
      type: 'tool_finished',
      turn: 'turn_1',
      call: 'call_1',
      outcome: 'ok',
      content: 'first\nsecond\nthird',
      details: {},
    });
    expect(told).toEqual(['tool: bash {"command":"ls\\n"}', 'tool: bash → first']);
  });

  it('shows why a turn failed', () => {
    const { transcript, told } = setUp();
    transcript.delta(live);
    transcript.event(finished('failed'));
    expect(told[0]).toBe('note: No key. Set one.');
    expect(told[1]).toContain('failed');
  });

  it('names the model that failed, where one was called', () => {
    const { transcript, told } = setUp();
    const error = { code: 'model_failed', message: 'It is gone.' };
    const failed = { ...common, turn: 'turn_1', step: 1, attempt: 1, error };
    for (const model of ['echo/echo', '']) {
      transcript.event({ ...failed, seq: ++seq, type: 'model_call_failed', model });
    }
    expect(told).toEqual(['note: echo/echo: It is gone.', 'note: It is gone.']);
  });

  it('tells of turns in the history only when they did not complete', () => {
    const { transcript, told } = setUp();
    transcript.event(finished());
    expect(told).toEqual([]);
    transcript.event(finished('cancelled'));
    expect(told).toHaveLength(1);
  });

  it('tells who comes and goes, but not that I came', () => {
    const { transcript, told } = setUp();
    for (const clients of [1, 2, 2, 1]) transcript.delta({ type: 'presence', clients });
    expect(told).toEqual([
      'note: Another attached: 2 are here now.',
      'note: Another left: you are alone here.',
    ]);
  });

  it('tells which chats show the session', () => {
    const { transcript, told } = setUp();
    const bound = { ...chat, chat_type: 'group', inbox: 0, by: 'server' } as const;
    transcript.event({
      ...common,
      seq: ++seq,
      type: 'chat_bound',
      ...bound,
      thread_id: '\x1b[2J7',
    });
    transcript.event({ ...common, seq: ++seq, type: 'chat_unbound', ...chat, by: 'server' });
    expect(told).toEqual([
      'note: telegram:-100:7 shows this session.',
      'note: telegram:-100 no longer shows this session.',
    ]);
  });

  it('tells what is not answered, and what people set', () => {
    const { transcript, told } = setUp();
    const dropped = { message_ids: ['msg_1', 'msg_2'], reason: 'overflow' } as const;
    transcript.event({ ...common, seq: ++seq, type: 'message_dropped', ...dropped });
    const set = { name: 'queue', value: null, by: 'telegram:5\x1b[2J' } as const;
    transcript.event({ ...common, seq: ++seq, type: 'setting_changed', ...set });
    expect(told).toEqual([
      'note: 2 messages were not answered: too many waited.',
      'note: queue: as the agent says (telegram:5)',
    ]);
  });

  it('says nothing of a card that keeps its buttons: what was decided is told', () => {
    const { transcript, told } = setUp();
    const edit = { ...delivery, edits: { out: 'out_0', message: '7' } };
    const decided = { turn: 'turn_1', call: 'call_1', approval: 'appr_1', by: 'cli' };
    const type = 'approval_decided';
    const deliveries = [edit];
    transcript.event({ ...common, seq: ++seq, type, ...decided, decision: 'deny', deliveries });
    transcript.event(delivered('dead', { code: 'expired', message: 'Too late.' }));
    expect(told).toEqual(['note: ✗ Denied (cli)']);
  });

  it('tells how far the turn is until it ends', () => {
    const { transcript, told } = setUp();
    const progress = { type: 'progress', turn: 'turn_1', call: 'call_1' } as const;
    transcript.delta({ ...progress, text: 'Reading\x1b[2J\nall', percent: 40 });
    expect(transcript.progress).toBe('40 %: Reading all');
    transcript.delta({ ...progress, text: 'Writing' });
    expect(transcript.progress).toBe('Writing');
    transcript.event(finished());
    expect(transcript.progress).toBeNull();
    expect(told.slice(0, 2)).toEqual(['progress: 40 %: Reading all', 'progress: Writing']);
  });

  it('tells notices', () => {
    const { transcript, told } = setUp();
    const text = 'Too many bots\x1b[2J here.';
    transcript.event({ ...common, seq: ++seq, type: 'notice', text, deliveries: [] });
    expect(told).toEqual(['note: Too many bots here.']);
  });

  it('tells what a chat was not shown, why, and what to do; and nothing of what it was', () => {
    const { transcript, told } = setUp();
    transcript.event(answer('hi', { deliveries: [delivery] }));
    transcript.event(delivered('failed', { code: 'rate_limited', message: 'Later.' }));
    transcript.event(delivered('delivered'));
    expect(told).toEqual(['answer: hi']);
    transcript.event(delivered('dead', { code: 'blocked', message: 'Blocked\x1b[2J.\nReally.' }));
    expect(told[1]).toBe(
      'note: Not shown in telegram:-100: Blocked. Really. `duragent outbox retry out_1` tries again.',
    );
    transcript.event(delivered('dead', { code: 'dropped', message: 'By hand.' }));
    expect(told[2]).toBe('note: What was not shown in telegram:-100 was given up.');
  });

  it('shows files of an answer by their names', () => {
    const { transcript, told } = setUp();
    const file = { artifact: 'art_1', name: 'plot.png', mime: 'image/png', size: 3 };
    const content = [
      { type: 'text' as const, text: 'Here' },
      { type: 'file' as const, ...file },
    ];
    transcript.event(answer('', { content }));
    expect(told).toEqual(['answer: Here', 'note: [file: plot.png]']);
  });

  it('passes over events of a newer version', () => {
    const { transcript, told } = setUp();
    transcript.event({ ...common, seq: ++seq, type: 'something_new' });
    expect(told).toEqual([]);
  });
});
