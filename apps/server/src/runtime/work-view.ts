import type { StoredEvent } from '@duragent/protocol';
import type { Draft } from '../core/session/session-input.ts';
import type { SessionLog } from '../ports/session-store.ts';
import type { AgentInUse } from './agent-in-use.ts';
import type { EffectScope } from './effects.ts';
import type { Feed } from './feed.ts';
import { newId } from './ids.ts';
import type { SessionJournal } from './session-journal.ts';
import type { ShownChats } from './shown-chats.ts';
import type { WorkScope } from './work-in-flight.ts';

/** The parts of a session that its work sees and shows itself in. */
interface WorkPlace {
  journal: Pick<SessionJournal, 'now' | 'written'>;
  log: Pick<SessionLog, 'read'>;
  feed: Feed;
  shown: ShownChats;
  agent: AgentInUse;
  submit: EffectScope['submit'];
}

/** What the effects of one session see of it and show of their work, and what readers have seen of that. */
export class WorkView {
  readonly #place: WorkPlace;
  /** The model call in progress: what it saw, and who was asked. */
  #call: Parameters<EffectScope['calling']>[0] | null = null;
  /** Whether chats are shown the reply once its message is on disk. */
  #isReplyDue = false;

  constructor(place: WorkPlace) {
    this.#place = place;
  }

  /** What an effect that begins now may see and show. */
  scope(): WorkScope {
    const { journal, feed, shown, agent, submit } = this.#place;
    const reply = (): void => shown.reply(journal.now.state, (...of) => feed.text(...of));
    return {
      agent: agent.ofTurn,
      agentName: journal.now.state.agent,
      current: () => journal.now,
      durable: () => journal.written(),
      calling: (call) => {
        this.#call = call;
      },
      show: (delta, after = 0) => {
        feed.addDelta(delta, after);
        if (delta.type === 'progress') shown.progress(journal.now.state, delta);
        if (delta.type !== 'token') return;
        if (after <= feed.lastSeq) reply();
        else this.#onceWritten(reply);
      },
      event: (seq) => this.#event(seq),
      submit,
    };
  }

  /** Shows chats what is said before they may see it; once for all that comes until then. */
  #onceWritten(reply: () => void): void {
    if (this.#isReplyDue) return;
    this.#isReplyDue = true;
    const settle = (): void => {
      this.#isReplyDue = false;
    };
    this.#place.journal.written().then(() => {
      settle();
      reply();
    }, settle);
  }

  /** What readers have seen of the answer in progress. */
  draft(): { draft?: Draft } {
    const { journal, feed } = this.#place;
    const { turn } = journal.now.state;
    if (turn?.phase !== 'model') return {};
    const { step, attempt } = turn;
    const text = feed.text(turn.turn, step, attempt);
    if (!this.#call || text === '') return {};
    return {
      draft: {
        turn: turn.turn,
        step,
        attempt,
        message_id: newId('msg'),
        input_seq: this.#call.inputSeq,
        text,
        model: this.#call.model,
        ...(this.#call.reserved ? { usage: this.#call.reserved } : {}),
      },
    };
  }

  async #event(seq: number): Promise<StoredEvent | undefined> {
    const { journal, feed, log } = this.#place;
    // What speaks may be read before it is durable: nothing is sent before it is.
    const decided = journal.now.window.events.findLast((event) => event.seq <= seq);
    if (decided?.seq === seq) return decided;
    await journal.written();
    const recent = feed.recordAt(seq);
    if (recent) return recent.event;
    const [record] = await log.read(seq - 1, 1);
    return record?.event;
  }
}
