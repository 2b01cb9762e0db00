import type { ApprovalDecision, SessionView, TurnOutcome } from '@duragent/protocol';
import type { SessionClient } from '../client/session-client.ts';
import { choiceAt, type OpenAsk, OpenAsks } from './open-asks.ts';
import type { Stage } from './stage.ts';
import { Sanitizer, rawFilter, sanitize, type TextFilter } from './sanitize.ts';
import { readSlashCommand, runSlashCommand } from './slash-commands.ts';
import { Transcript, type TranscriptOptions } from './transcript.ts';
import { TurnWatch } from './turn-watch.ts';

/** How a conversation ended for this client. */
export interface ConversationEnd {
  /** `ended`: by someone else; `quit` and `reset`: by this person. */
  how: 'detached' | 'ended' | 'quit' | 'reset';
  /** How the last turn ended that ended meanwhile. */
  lastOutcome: TurnOutcome | null;
}

export interface ConversationOptions {
  client: SessionClient;
  session: SessionView;
  stage: Stage;
  /** The name under which this person writes. */
  me: string;
  /** Shows what this person sent at once; without it, it is not shown. */
  echo: boolean;
  readOnly: boolean;
  raw: boolean;
  quiet: boolean;
  /** Called whenever `busy` or `connected` may have changed. */
  onChange?: () => void;
  /** `/clear`. */
  onClear?: () => void;
}

/** What is pressed, and Enter, while an approval waits. */
const keys: ReadonlyMap<string, ApprovalDecision> = new Map([
  ['y', 'allow_once'],
  ['a', 'allow_always'],
  ['n', 'deny'],
]);
/** Messages that wait for the connection; more are refused. */
const MAX_UNSENT = 100;
/** A second Ctrl-C within this time leaves. */
const TWICE_MS = 3_000;
/** How long a message that was just typed may take to be sent when its writer leaves, in ms. */
const SEND_REST_MS = 2_000;

/** One client attached to one session: shows what happens there, and sends what is typed. */
export class Conversation {
  readonly options: ConversationOptions;
  readonly #watch = new TurnWatch();
  readonly #asks = new OpenAsks();
  readonly #transcript: Transcript;
  readonly #leaving = new AbortController();
  /** Messages outlive the leaving for a moment. */
  readonly #posting = new AbortController();
  /** What this program sent: texts whose event may come before their answer, and ids whose event has not come. */
  readonly #sentTexts: string[] = [];
  readonly #sentIds = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #sending: Promise<void> = Promise.resolve();
  #unsent = 0;
  #accepted = 0;
  #how: ConversationEnd['how'] = 'detached';
  #lastOutcome: TurnOutcome | null = null;
  #connected = true;
  #interruptedAt = 0;
  /** Whether what works was asked to stop. */
  #cancelling = false;
  #failures = 0;

  constructor(options: ConversationOptions) {
    this.options = options;
    this.#transcript = this.#newTranscript((message) => this.#isOwn(message));
  }

  /** Whether a turn works, or a message has no answer yet. */
  get busy(): boolean {
    return !this.#watch.idle || this.#unsent > 0 || this.#watch.seq < this.#accepted;
  }

  /** How far the open turn is, as its agent said last; null: it said nothing. */
  get progress(): string | null {
    return this.#transcript.progress;
  }

  /** Whether an operator has paused the session. */
  get held(): boolean {
    return this.#watch.held;
  }

  /** How many messages and commands failed. */
  get failures(): number {
    return this.#failures;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get signal(): AbortSignal {
    return this.#leaving.signal;
  }

  /** Shows the session until this client leaves or the session ends. @throws what no new try can mend */
  async run(): Promise<ConversationEnd> {
    const { client, session } = this.options;
    const { signal } = this;
    try {
      for await (const frame of client.events(session.session, { after: 0, signal })) {
        if (frame.kind === 'lost') {
          this.#connected = false;
          this.#transcript.disconnected();
          const text = frame.first ? 'Connection lost; trying again …' : frame.error.message;
          this.options.stage.note(sanitize(text), 'warning');
        } else if (frame.kind === 'mended') {
          this.#connected = true;
          this.options.stage.note('Connected again.', 'quiet');
        } else if (frame.kind === 'event') {
          this.#watch.apply(frame.event);
          this.#asks.apply(frame.event);
          if (this.#transcript.live && frame.event.type === 'turn_finished') {
            this.#lastOutcome = this.#watch.lastOutcome;
            // The next turn may be cancelled too.
            this.#cancelling = false;
          }
          this.#transcript.event(frame.event);
        } else {
          this.#transcript.delta(frame.delta);
        }
        if (this.#watch.ended && this.#transcript.live) break;
        this.#changed();
      }
      if (this.#watch.ended && this.#how === 'detached') this.#how = 'ended';
      return { how: this.#how, lastOutcome: this.#lastOutcome };
    } finally {
      this.#leaving.abort();
      await this.#sendRest();
      this.#changed();
    }
  }

  /** What was typed before this client left is sent, or said not to be. */
  async #sendRest(): Promise<void> {
    if (this.#unsent > 0 && this.#connected) {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(() => late.resolve(), SEND_REST_MS);
      await Promise.race([this.#sending, late.promise]);
      clearTimeout(timer);
    }
    const unsent = this.#sentTexts.slice(-this.#unsent);
    this.#posting.abort();
    if (this.#unsent === 0) return;
    this.#failures += 1;
    for (const text of unsent) {
      this.options.stage.note(`Not sent: ${JSON.stringify(sanitize(text).slice(0, 200))}`, 'error');
    }
  }

  /** Resolves when all that was recorded before has been shown, or this client left. */
  async caughtUp(): Promise<void> {
    await this.#until(() => this.#transcript.live);
  }

  /** Resolves when nothing is being answered any more, or this client left. */
  async idle(): Promise<void> {
    await this.#until(() => !this.busy);
  }

  /** Takes a line that was typed: a message, or a command that begins with `/`. */
  async submit(text: string): Promise<void> {
    const command = readSlashCommand(text);
    const key = this.options.echo && !this.options.readOnly ? this.#keyOf(text.trim()) : null;
    if (command !== null) await this.#guard(() => runSlashCommand(this, command, text));
    else if (key) await this.#guard(key);
    else if (this.options.readOnly)
      this.options.stage.note('This is read-only: nothing is sent.', 'warning');
    else this.#send(text);
  }

  /** What waits for a person; null: nothing. */
  get asked(): OpenAsk | null {
    return this.#asks.first;
  }

  /** What a short line means while something waits: `y`, `a`, `n`, or the number of a choice. */
  #keyOf(line: string): (() => Promise<void>) | null {
    const ask = this.asked;
    if (ask?.kind === 'approval') {
      const decision = keys.get(line.toLowerCase());
      return decision ? () => this.decide(ask, decision) : null;
    }
    const choice = ask ? choiceAt(ask, line) : undefined;
    return ask && choice !== undefined ? () => this.answer(ask, choice) : null;
  }

  /** The open approval or question of this id, or the first of its kind. */
  findAsk(kind: OpenAsk['kind'], id: string): OpenAsk | null {
    return this.#asks.find(kind, id);
  }

  async decide({ id }: OpenAsk, decision: ApprovalDecision): Promise<void> {
    const { client, session } = this.options;
    await client.decide(session.session, id, decision, { signal: this.signal });
  }

  async answer({ id }: OpenAsk, answer: string): Promise<void> {
    const { client, session } = this.options;
    await client.answer(session.session, id, answer, { signal: this.signal });
  }

  /** Ctrl-C: cancels what works; the second leaves. */
  interrupt(): void {
    const again = Date.now() - this.#interruptedAt < TWICE_MS;
    this.#interruptedAt = Date.now();
    if (this.busy ? this.#cancelling : again) {
      this.leave('detached');
    } else if (this.busy && !this.options.readOnly) {
      this.#cancelling = true;
      this.options.stage.note('Cancelling … (Ctrl-C again detaches)', 'quiet');
      void this.#guard(() =>
        this.options.client.cancel(this.options.session.session, { signal: this.signal }),
      );
    } else {
      this.options.stage.note('Ctrl-C again or Ctrl-D detaches; /quit ends the session.', 'quiet');
    }
  }

  /** Leaves; the session goes on unless it was ended. */
  leave(how: ConversationEnd['how']): void {
    this.#how = how;
    this.#leaving.abort();
  }

  /** Shows the whole conversation once more. */
  async retell(): Promise<void> {
    const done = new AbortController();
    const signal = AbortSignal.any([this.signal, done.signal]);
    const { client, session } = this.options;
    const again = this.#newTranscript(() => false);
    for await (const frame of client.events(session.session, {
      after: 0,
      signal,
      presence: false,
    })) {
      if (frame.kind === 'event') again.event(frame.event);
      if (frame.kind === 'delta' && frame.delta.type === 'caught_up') done.abort();
    }
  }

  #newTranscript(own: TranscriptOptions['own']): Transcript {
    const { stage, session, me, quiet, raw } = this.options;
    const filter = (): TextFilter => (raw ? rawFilter : new Sanitizer());
    return new Transcript({ stage, agent: session.agent, me, filter, own, quiet });
  }

  /** Messages go one after another, each with its own key, so each is in the log once. */
  #send(text: string): void {
    const { client, session, stage, me, echo } = this.options;
    if (this.#unsent >= MAX_UNSENT) {
      stage.note(
        `Not sent: ${String(MAX_UNSENT)} messages wait for the connection already.`,
        'error',
      );
      return;
    }
    this.#sentTexts.push(text);
    if (echo) stage.said(null, sanitize(text));
    this.#unsent += 1;
    this.#sending = this.#sending.then(() =>
      this.#guard(async () => {
        try {
          const message = { content: text, origin: 'cli', sender: { name: me } } as const;
          const options = { signal: this.#posting.signal, patienceMs: Infinity };
          const accepted = await client.post(session.session, message, options);
          if (this.#forgetText(text)) this.#sentIds.add(accepted.message_id);
          this.#accepted = Math.max(this.#accepted, accepted.seq);
        } catch (error) {
          this.#forgetText(text);
          throw error;
        } finally {
          this.#unsent -= 1;
          this.#changed();
        }
      }),
    );
    this.#changed();
  }

  #isOwn({ id, text, mine }: { id: string; text: string; mine: boolean }): boolean {
    return this.#sentIds.delete(id) || (mine && this.#forgetText(text));
  }

  #forgetText(text: string): boolean {
    const index = this.#sentTexts.indexOf(text);
    if (index !== -1) this.#sentTexts.splice(index, 1);
    return index !== -1;
  }

  /** What fails here is said, and the conversation goes on. */
  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.signal.aborted) return;
      this.#failures += 1;
      this.options.stage.note(
        sanitize(error instanceof Error ? error.message : String(error)),
        'error',
      );
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
    }
  }

  #changed(): void {
    if (!this.busy) this.#cancelling = false;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
    this.options.onChange?.();
  }
}
