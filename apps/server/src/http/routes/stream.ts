import {
  type Answer,
  DuragentError,
  isKnownEvent,
  type MessageAccepted,
  type StoredEvent,
  streamMessageSchema,
} from '@duragent/protocol';
import type { Frame } from '../../runtime/feed.ts';
import type { HttpDeps, OpenSession } from '../context.ts';
import { encodeFrame, encodeMessage } from '../frames.ts';
import { problemOf } from '../problem.ts';
import type { AddRoute } from '../route.ts';
import { sendEvents } from '../sse.ts';
import { receiveMessage } from './messages.ts';

/**
 * `POST …/stream`: says something, and shows the session from that message on until the turn that
 * answers it has ended. The turn does not depend on the reader: it goes on when the client leaves,
 * which can follow it with `GET …/events` from the last id it saw.
 *
 * The frames are those of `…/events`: every durable event under its own name with its `seq` as
 * `id`, and the deltas (`token`, `reasoning`, `tool_output`, `progress`, `presence`, `caught_up`, `lagged`)
 * without one. Between them stand, without an id and for clients that want nothing else:
 *
 * | event | data | when |
 * |---|---|---|
 * | `start` | `seq`, `message_id`, `turn` (null: not known yet) | first: the message is durable |
 * | `token` | `turn`, `step`, `attempt`, `offset`, `text` | the delta itself |
 * | `tool_call` | `turn`, `call`, `name`, `arguments` | for each call of an `assistant_message`, behind it |
 * | `approval_required` | `turn`, `call`, `approval`, `tool`, `shown`, `command`, `reason`, `expires_at` | behind each `approval_requested` |
 * | `question` | `turn`, `call`, `question`, `text`, `choices`, `expires_at` | behind each `question_asked` |
 * | `tool_result` | `turn`, `call`, `outcome`, `content` | behind each `tool_finished` |
 * | `done` | `turn`, `outcome` `completed`, `finish_reason`, `usage`, `text` | last: behind `turn_finished` |
 * | `cancelled` | `turn`, `outcome` `cancelled`, `usage`, `text` | last: the turn was cancelled, or the session ended |
 * | `error` | `code`, `detail`, and with a turn `turn`, `outcome`, `usage`, `text` | last: the turn failed, was interrupted or needs attention; or, as a problem, the stream broke off (`draining`: the server stops and the turn goes on later) |
 *
 * The last frame is about the turn that answers the message; all others are the whole session's.
 */
export function streamRoutes(add: AddRoute, deps: HttpDeps): void {
  add('POST', '/api/v1/sessions/:id/stream', 'chat', async (ctx) => {
    const { sessions } = deps;
    const { session, accepted } = await receiveMessage(
      ctx,
      sessions,
      'stream',
      streamMessageSchema,
    );
    const turn = new TurnFrames(session, accepted);
    sendEvents(ctx, deps, {
      // Its answer may have been recorded along with it.
      frames: (signal) =>
        session.subscribe({ after: accepted.seq - 1, wordsFrom: accepted.seq, signal }),
      opening: encodeMessage('start', {
        seq: accepted.seq,
        message_id: accepted.message_id,
        turn: accepted.turn,
      }),
      encode: (frame) => turn.encode(frame),
      isDone: () => turn.isDone,
      closing: () => encodeMessage('error', problemOf(brokenOff(), ctx.state.scope.id).body),
    });
  });
}

function brokenOff(): DuragentError {
  return new DuragentError(
    'draining',
    'The server is stopping. The turn goes on after its start: follow it with GET …/events from the last id.',
  );
}

/** Turns the session's frames into those of one message's turn. */
class TurnFrames {
  readonly #tracker: ReturnType<OpenSession['track']>;
  #finishReason: string | null = null;
  isDone = false;

  constructor(session: OpenSession, accepted: MessageAccepted) {
    this.#tracker = session.track(accepted);
  }

  encode(frame: Frame): string {
    const text = encodeFrame(frame);
    return frame.kind === 'delta' ? text : text + this.#behind(frame.record.event);
  }

  /** What stands behind a durable event. */
  #behind(event: StoredEvent): string {
    const answer = this.#tracker.see(event);
    if (answer) {
      this.isDone = true;
      return this.#end(answer);
    }
    if (!isKnownEvent(event)) return '';
    if (event.type === 'assistant_message') {
      const { turn } = event;
      this.#finishReason = event.finish_reason;
      return event.tool_calls
        .map(({ call, name, arguments: args }) =>
          encodeMessage('tool_call', { turn, call, name, arguments: args }),
        )
        .join('');
    }
    if (event.type === 'approval_requested') {
      const { turn, call, approval, tool, shown, command, reason, expires_at } = event;
      const facts = { turn, call, approval, tool, shown, command, reason, expires_at };
      return encodeMessage('approval_required', facts);
    }
    if (event.type === 'question_asked') {
      const { turn, call, question, text: asked, choices, expires_at } = event;
      return encodeMessage('question', { turn, call, question, text: asked, choices, expires_at });
    }
    if (event.type === 'tool_finished') {
      const { turn, call, outcome, content } = event;
      return encodeMessage('tool_result', { turn, call, outcome, content });
    }
    return '';
  }

  #end({ turn, outcome, usage, text, error }: Answer): string {
    const facts = { turn, outcome, usage, text };
    if (outcome === 'completed') {
      return encodeMessage('done', { ...facts, finish_reason: this.#finishReason });
    }
    if (outcome === 'cancelled') return encodeMessage('cancelled', facts);
    return encodeMessage('error', {
      code: error?.code ?? outcome,
      detail: error?.message ?? `The turn ended as ${outcome}.`,
      ...facts,
    });
  }
}
