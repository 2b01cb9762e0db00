import {
  isKnownEvent,
  type AssistantPart,
  type ChatAddress,
  type Delivery,
  type Delta,
  type EventOf,
  type ProgressDelta,
  type SessionEvent,
  type StoredEvent,
  type TurnOutcome,
  visible,
} from '@duragent/protocol';
import { howTo, quoted } from './open-asks.ts';
import { Draft } from './draft.ts';
import type { Stage } from './stage.ts';
import { sanitize, sanitizeLine, type TextFilter } from './sanitize.ts';

export interface TranscriptOptions {
  stage: Stage;
  agent: string;
  /** The name under which this person writes. */
  me: string;
  /** Makes the filter that text of the agent passes. */
  filter: () => TextFilter;
  /** Whether a message was sent, and shown, by this program. Asked once for each message. */
  own: (message: { id: string; text: string; mine: boolean }) => boolean;
  /** Without presence and the ends of turns. */
  quiet: boolean;
}

const ARGUMENTS_LENGTH = 100;
/** Deliveries whose chat is remembered until they end. */
const MAX_DELIVERIES = 200;
/** What a person gave up by hand: no failure. */
const DROPPED = 'dropped';

/** Tells a session's events and deltas on a stage: each piece of text once, whatever order retries and resumes bring. */
export class Transcript {
  readonly #options: TranscriptOptions;
  readonly #stage: Stage;
  readonly #draft: Draft;
  readonly #tools = new Map<string, string>();
  /** Where deliveries go that have not ended; null: nobody is told of their end. */
  readonly #deliveries = new Map<string, string | null>();
  #progress: string | null = null;
  #live = false;
  #model = '';
  #clients: number | null = null;

  constructor(options: TranscriptOptions) {
    this.#options = options;
    this.#stage = options.stage;
    this.#draft = new Draft(options.stage, options.filter);
  }

  /** Whether all that was recorded before has been told. */
  get live(): boolean {
    return this.#live;
  }

  /** How far the open turn is, as its agent said last. */
  get progress(): string | null {
    return this.#progress;
  }

  delta(delta: Delta): void {
    switch (delta.type) {
      case 'token':
      case 'reasoning':
        this.#draft.add(delta);
        return;
      case 'presence':
        this.#presence(delta.clients);
        return;
      case 'caught_up':
        this.#live = true;
        return;
      case 'reset':
        this.#draft.drop();
        this.#stage.note('The server told the conversation anew from here:', 'warning');
        return;
      case 'progress':
        this.#progress = progressLine(delta);
        this.#stage.progress(this.#progress);
        return;
      // Output of a tool shows folded, with its result; who lagged gets the text so far again.
      case 'tool_output':
      case 'lagged':
        return;
    }
  }

  event(event: StoredEvent): void {
    if (isKnownEvent(event)) this.#event(event);
  }

  /** The connection was lost or mended: whoever is there is told anew. */
  disconnected(): void {
    this.#clients = null;
  }

  #event(event: SessionEvent): void {
    const stage = this.#stage;
    switch (event.type) {
      case 'user_message':
        this.#said(event);
        return;
      case 'assistant_message':
        this.#answered(event);
        return;
      case 'model_call_failed': {
        this.#draft.pause();
        const next = event.retry === undefined ? '' : ' Trying again …';
        // Before a model was chosen there is none to name.
        const model = event.model === '' ? '' : `${event.model}: `;
        stage.note(sanitize(`${model}${event.error.message}${next}`), 'warning');
        return;
      }
      case 'tool_started':
        return;
      case 'approval_requested':
        this.#expect(event.deliveries);
        this.#ask(`🔐 ${visible(event.tool)} asks for consent:\n${requestText(event)}`, event);
        return;
      case 'approval_decided':
        this.#expect(event.deliveries);
        stage.note(`${decisionWords[event.decision]} (${sanitizeLine(event.by)})`, 'quiet');
        return;
      case 'question_asked':
        this.#expect(event.deliveries);
        this.#ask(`❓ ${visible(event.text)}`, event);
        return;
      case 'question_answered': {
        this.#expect(event.deliveries);
        const { answer, by } = event;
        const text = answer === null ? 'Nobody answered in time.' : `Answered: ${visible(answer)}`;
        stage.note(answer === null ? text : `${text} (${sanitizeLine(by)})`, 'quiet');
        return;
      }
      case 'tool_finished': {
        this.#expect(event.deliveries);
        const [first = '', ...more] = sanitize(event.content).trim().split('\n');
        const name = this.#tools.get(event.call) ?? event.call;
        this.#tools.delete(event.call);
        const failed = event.outcome !== 'ok';
        const word = failed ? `${event.outcome}: ` : '';
        stage.tool(`${name} → ${word}${shorten(first)}`, { folded: more.length, failed });
        return;
      }
      case 'turn_paused':
        this.#draft.pause();
        stage.note(pauseWords[event.reason], 'quiet');
        return;
      case 'turn_resumed':
        this.#draft.pause();
        stage.note(resumeWords[event.cause], 'quiet');
        return;
      case 'turn_finished':
        this.#finished(event);
        return;
      case 'session_paused':
        stage.note(
          `⏸ Paused by ${sanitizeLine(event.by)}: messages wait until /resume.`,
          'warning',
        );
        return;
      case 'session_resumed':
        stage.note(`▶ Resumed by ${sanitizeLine(event.by)}.`, 'quiet');
        return;
      case 'recovered':
        stage.note(
          `The log was cut short by a crash: ${String(event.bytes)} bytes that were never acknowledged are kept in ${sanitizeLine(event.saved_as)}.`,
          'warning',
        );
        return;
      case 'session_ended':
        this.#draft.drop();
        stage.note(`The session has ended (${event.reason}).`, 'quiet');
        return;
      case 'chat_bound':
        stage.note(`${chatName(event)} shows this session.`, 'quiet');
        return;
      case 'chat_unbound':
        stage.note(`${chatName(event)} no longer shows this session.`, 'quiet');
        return;
      case 'notice':
        this.#expect(event.deliveries);
        stage.note(sanitize(event.text), 'quiet');
        return;
      case 'delivery_finished':
        this.#delivered(event);
        return;
      case 'message_dropped': {
        const count = event.message_ids.length;
        const what = count === 1 ? 'A message was' : `${String(count)} messages were`;
        stage.note(`${what} not answered: ${dropWords[event.reason]}.`, 'quiet');
        return;
      }
      case 'setting_changed': {
        const value = sanitizeLine(event.value ?? 'as the agent says');
        stage.note(`${event.name}: ${value} (${sanitizeLine(event.by)})`, 'quiet');
        return;
      }
      case 'session_started':
      case 'turn_started':
      // What the model is told of long ago is no part of the conversation.
      case 'history_summarized':
      case 'summary_failed':
      // Only its end matters to who looks on.
      case 'delivery_started':
      case 'preview_posted':
        return;
    }
  }

  /** Nothing may hide in what a person decides about: what cannot be seen is written out. */
  #ask(text: string, event: EventOf<'approval_requested' | 'question_asked'>): void {
    this.#draft.pause();
    this.#stage.note(`${text}\n${visible(howTo(event))}`, 'warning');
  }

  /** Remembers where deliveries go. */
  #expect(deliveries: readonly Delivery[] = []): void {
    for (const delivery of deliveries) {
      // Of an edit nothing is missing in the chat.
      this.#deliveries.set(delivery.out, delivery.edits ? null : chatName(delivery));
      const [oldest] = this.#deliveries.keys();
      if (this.#deliveries.size > MAX_DELIVERIES && oldest !== undefined) {
        this.#deliveries.delete(oldest);
      }
    }
  }

  #delivered({ out, outcome, error }: EventOf<'delivery_finished'>): void {
    if (outcome !== 'dead') return;
    const known = this.#deliveries.get(out);
    if (known === null) return;
    const chat = known ?? 'a chat';
    const id = sanitizeLine(out);
    if (error?.code === DROPPED) {
      this.#stage.note(`What was not shown in ${chat} was given up.`, 'quiet');
      return;
    }
    const why = error === undefined ? '' : ` ${sanitizeLine(error.message)}`;
    this.#stage.note(
      `Not shown in ${chat}:${why} \`duragent outbox retry ${id}\` tries again.`,
      'warning',
    );
  }

  #said(event: EventOf<'user_message'>): void {
    this.#expect(event.deliveries);
    if (event.handling === 'silent') return;
    const { source, message_id: id } = event;
    const text = event.content
      .map((part) => (part.type === 'file' ? fileWord(part.name) : part.text))
      .join('');
    const name = sanitizeLine(source.sender?.name ?? 'someone');
    const mine = source.kind === 'cli' && name === this.#options.me;
    if (this.#options.own({ id, text, mine })) return;
    const who =
      mine && !this.#live
        ? null
        : `${name} (${sanitizeLine(source.chat?.gateway ?? places[source.kind])})`;
    this.#stage.said(who, sanitize(text));
  }

  #answered(event: EventOf<'assistant_message'>): void {
    this.#model = sanitizeLine(event.model);
    this.#expect(event.deliveries);
    this.#draft.settle(event, {
      text: partsText(event.content, 'text'),
      reasoning: partsText(event.content, 'reasoning'),
    });
    for (const part of event.content) {
      if (part.type === 'file') this.#stage.note(fileWord(part.name), 'quiet');
    }
    for (const call of event.tool_calls) {
      const name = sanitizeLine(call.name);
      this.#tools.set(call.call, name);
      this.#stage.tool(`${name} ${shorten(sanitizeLine(JSON.stringify(call.arguments) ?? ''))}`);
    }
    if (event.finish_reason === 'length')
      this.#stage.note('The answer was cut: the model reached its output limit.', 'warning');
    if (event.finish_reason === 'content_filter')
      this.#stage.note("The provider's content filter stopped the answer.", 'warning');
  }

  #finished(event: EventOf<'turn_finished'>): void {
    this.#draft.drop();
    this.#progress = null;
    this.#tools.clear();
    if (event.error !== undefined) this.#stage.note(sanitize(event.error.message), 'error');
    if (this.#options.quiet || (!this.#live && event.outcome === 'completed')) return;
    const { input_tokens: read, output_tokens: written } = event.usage;
    const tokens = `${String(read)} tokens in, ${String(written)} out`;
    const parts = [
      sanitizeLine(this.#options.agent),
      outcomeWords[event.outcome],
      tokens,
      this.#model,
    ];
    this.#stage.turnEnd(parts.filter((part) => part !== '').join(' · '));
  }

  #presence(clients: number): void {
    const before = this.#clients ?? 1;
    this.#clients = clients;
    if (this.#options.quiet || clients === before) return;
    const here = clients === 1 ? 'you are alone here' : `${String(clients)} are here now`;
    this.#stage.note(
      `${clients > before ? 'Another attached' : 'Another left'}: ${here}.`,
      'quiet',
    );
  }
}

const pauseWords: Readonly<Record<EventOf<'turn_paused'>['reason'], string>> = {
  disconnected: 'The turn is paused: everyone had left.',
  operator: 'The turn is paused.',
  background_limit: 'The turn is paused: it worked with nobody attached for as long as it may.',
  drain: 'The turn is paused: the server stops.',
};

const resumeWords: Readonly<Record<EventOf<'turn_resumed'>['cause'], string>> = {
  crash: '↻ The server was interrupted; the turn goes on.',
  drain: '↻ The server was restarted; the turn goes on.',
  attached: '↻ The turn goes on.',
  operator: '↻ The turn goes on.',
  message: '↻ The turn goes on.',
};

const dropWords: Readonly<Record<EventOf<'message_dropped'>['reason'], string>> = {
  overflow: 'too many waited',
  busy: 'a turn worked',
};

function requestText({ shown, command, reason }: EventOf<'approval_requested'>): string {
  const env = Object.entries(command?.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const where = command ? `in ${[command.cwd, ...env].join(' ')}` : '';
  return [quoted(visible(shown)), visible(where), visible(reason)]
    .filter((line) => line !== '')
    .join('\n');
}

const decisionWords: Readonly<Record<EventOf<'approval_decided'>['decision'], string>> = {
  allow_once: '✓ Allowed once',
  allow_always: '✓ Allowed, always',
  deny: '✗ Denied',
  expire: '✗ Nobody allowed it in time',
};

const outcomeWords: Readonly<Record<TurnOutcome, string>> = {
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
  interrupted: 'interrupted',
  needs_attention: 'needs attention',
};

const places: Readonly<Record<EventOf<'user_message'>['source']['kind'], string>> = {
  cli: 'terminal',
  http: 'http',
  gateway: 'chat',
  schedule: 'schedule',
  webhook: 'webhook',
  agent: 'agent',
};

/** `telegram:-100` or `telegram:-100:7`, as `attach` takes it. */
function chatName({ gateway, chat_id, thread_id }: ChatAddress): string {
  const parts = thread_id === undefined ? [gateway, chat_id] : [gateway, chat_id, thread_id];
  return sanitizeLine(parts.join(':'));
}

function progressLine({ text, percent }: ProgressDelta): string {
  const line = sanitizeLine(text);
  return percent === undefined ? line : `${percent} %: ${line}`;
}

function fileWord(name: string): string {
  return `[file: ${sanitizeLine(name)}]`;
}

function partsText(parts: readonly AssistantPart[], type: AssistantPart['type']): string {
  return parts
    .map((part) => (part.type === type && part.type !== 'file' ? part.text : ''))
    .join('');
}

function shorten(text: string): string {
  return text.length <= ARGUMENTS_LENGTH ? text : `${text.slice(0, ARGUMENTS_LENGTH)}…`;
}
