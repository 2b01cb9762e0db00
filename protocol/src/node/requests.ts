import { MAX_OPEN_REQUESTS } from '../connection.ts';
import type { CommandOf, GatewayRequest } from '../gateway/command.ts';
import type { GatewayAnswer } from '../gateway/event.ts';
import type { GatewayErrorCode } from '../gateway/messages.ts';
import type { AnswerBody, GatewayHandlers } from './gateway-handlers.ts';
import { cut, log, logError, MAX_MESSAGE_LENGTH, messageOf } from './report.ts';

type Request = Exclude<GatewayRequest, CommandOf<'ping'>>;

/** The requests that a gateway is doing: each is answered, and once. */
export class Requests {
  readonly #run: GatewayHandlers['request'];
  readonly #emit: (answer: GatewayAnswer) => void;
  /** Those that are not answered, by their ids. */
  readonly #open = new Map<string, Promise<void>>();
  /** The time to end is over. */
  readonly #over = new AbortController();

  /** @param emit throws when the answer does not fit the protocol. */
  constructor(run: GatewayHandlers['request'], emit: (answer: GatewayAnswer) => void) {
    this.#run = run;
    this.#emit = emit;
  }

  /** Has a request done, or answers it with `refused`. One whose id is in use is dropped. */
  take(request: Request, refused: AnswerBody | null): void {
    const id = request.request_id;
    if (this.#open.has(id)) {
      log(`a line from the server was dropped: the request_id of a ${request.type} is in use`);
      return;
    }
    const no = refused ?? this.#tooMany();
    if (no !== null) {
      this.#answer(id, no);
      return;
    }
    const { signal } = this.#over;
    const { promise, resolve } = Promise.withResolvers<void>();
    const answer = (body: AnswerBody): void => {
      if (!this.#open.delete(id)) return;
      signal.removeEventListener('abort', giveUp);
      this.#answer(id, body);
      resolve();
    };
    const giveUp = (): void => answer(uncertain('the gateway ended before the platform answered'));
    signal.addEventListener('abort', giveUp, { once: true });
    this.#open.set(id, promise);
    void Promise.try(() => this.#run(request, { signal })).then(answer, (error) => {
      logError(error);
      // The platform may have done it before this was thrown.
      answer(uncertain(messageOf(error)));
    });
  }

  /** Refuses what could not be read, unless it has the id of one that is open. */
  refuse(id: string, fault: string): void {
    if (!this.#open.has(id)) this.#answer(id, refusal('invalid_request', fault));
  }

  /** Resolves when those that are open now are answered. */
  async answered(): Promise<void> {
    await Promise.all(this.#open.values());
  }

  /** Answers those that are open: nobody knows whether they were done. */
  giveUp(): void {
    this.#over.abort(new Error('the time to end is over'));
  }

  /** @returns why no more are taken now; null: they are. */
  #tooMany(): AnswerBody | null {
    if (this.#open.size < MAX_OPEN_REQUESTS) return null;
    const message = `${MAX_OPEN_REQUESTS} requests are open already`;
    return { type: 'command_error', code: 'rate_limited', message, retry_after_ms: 1000 };
  }

  #answer(id: string, body: AnswerBody): void {
    try {
      this.#emit(answerOf(id, body));
    } catch (error) {
      logError(error);
      this.#emit(answerOf(id, uncertain(`the gateway made no valid answer: ${messageOf(error)}`)));
    }
  }
}

function answerOf(id: string, body: AnswerBody): GatewayAnswer {
  if (body.type !== 'command_error') return { ...body, request_id: id };
  const message = cut(body.message, MAX_MESSAGE_LENGTH);
  return { ...body, request_id: id, message, uncertain: body.uncertain ?? false };
}

/** Nothing was done. */
export function refusal(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}

/** It may have been done. */
function uncertain(message: string): AnswerBody {
  return { type: 'command_error', code: 'platform_error', message, uncertain: true };
}
