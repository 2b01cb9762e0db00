import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, FaultScript } from './faults.ts';
import type { RateLimits } from './limits.ts';
import type { Method } from './method.ts';
import { findMethod } from './methods.ts';
import type { Parameters } from './parameters.ts';
import { Refusal, type RefusalParameters } from './refusal.ts';
import type { World } from './world.ts';

/** One call of the bot. */
export interface CallRecord {
  seq: number;
  method: string;
  /** When it came, and when it was done with, in ms since 1970. */
  at: number;
  ended_at: number | null;
  parameters: Record<string, unknown>;
  /** What was to be answered; null while it waits, and when it was never carried out. */
  answer: { ok: boolean; error_code?: number; description?: string; message_id?: number } | null;
  /** `cut`: a fault ended the connection. `vanished`: the bot did. */
  outcome: 'waiting' | 'answered' | 'cut' | 'vanished';
  faults: Fault[];
}

/** What goes back over HTTP. */
export interface HttpAnswer {
  status: number;
  type: 'application/json' | 'text/html';
  body: string;
  /** How much of it goes out before the connection ends. */
  cut: 'before' | 'body' | null;
  /** To be called with what became of it. */
  done: (outcome: 'answered' | 'cut' | 'vanished') => void;
}

/**
 * Is told of each call of the bot: when it came, and when it was carried out and not answered yet.
 * What it returns is waited for; must not throw.
 */
export type CallHook = (
  phase: 'received' | 'stored',
  call: Pick<CallRecord, 'method' | 'parameters'>,
) => void | Promise<void>;

const MAX_CALLS = 100_000;

/** The Bot API as bots call it: methods, and what the script of faults does to their answers. */
export class BotApi {
  readonly #world: World;
  readonly #faults: FaultScript;
  readonly #limits: RateLimits;
  readonly #onCall: CallHook | undefined;
  #calls: CallRecord[] = [];
  #lastSeq = 0;

  constructor(world: World, faults: FaultScript, limits: RateLimits, onCall?: CallHook) {
    this.#world = world;
    this.#faults = faults;
    this.#limits = limits;
    this.#onCall = onCall;
  }

  get calls(): readonly CallRecord[] {
    return this.#calls;
  }

  /**
   * Carries out a call. A call whose client is gone already is not carried out; one whose client
   * goes while it is carried out has happened.
   * @throws the signal's reason when there is nobody to answer.
   */
  async call(method: string, parameters: Parameters, signal: AbortSignal): Promise<HttpAnswer> {
    const known = findMethod(method);
    if (known === undefined) {
      return answer(404, refusalBody(new Refusal(404, 'Not Found: method not found')));
    }
    signal.throwIfAborted();
    const record = this.#record(known.name, parameters);
    const faults = this.#faults.next(known.name, parameters.integer('chat_id'));
    record.faults = faults;
    try {
      await this.#onCall?.('received', record);
      signal.throwIfAborted();
      const early = faultBefore(faults);
      const sent: (() => void)[] = [];
      const result = early ?? (await this.#run(known.method, record, { parameters, signal, sent }));
      if (record.answer?.ok === true) await this.#onCall?.('stored', record);
      const late = early === undefined ? faultAfter(faults) : undefined;
      const slow = faults.find((fault) => fault.type === 'slow');
      if (slow?.type === 'slow') await delay(slow.ms, undefined, { signal });
      return {
        ...result,
        ...late,
        done: (outcome) => {
          record.outcome = outcome;
          record.ended_at = this.#world.clock.now();
          if (outcome === 'answered' && late === undefined) for (const done of sent) done();
        },
      };
    } catch (error) {
      if (!signal.aborted) throw error;
      record.outcome = 'vanished';
      record.ended_at = this.#world.clock.now();
      throw error;
    }
  }

  async #run(
    method: Method,
    record: CallRecord,
    call: { parameters: Parameters; signal: AbortSignal; sent: (() => void)[] },
  ): Promise<HttpAnswer> {
    const { parameters, signal, sent } = call;
    for (const fault of record.faults) {
      if (fault.type === 'redeliver') this.#world.updates.redeliver(fault.back);
    }
    try {
      let result = await method({
        world: this.#world,
        limits: this.#limits,
        parameters,
        signal,
        onSent: (done) => sent.push(done),
      });
      if (Array.isArray(result) && record.faults.some(({ type }) => type === 'reorder')) {
        result = this.#world.random.shuffle(result);
      }
      record.answer = { ok: true, ...messageIdOf(result) };
      return answer(200, JSON.stringify({ ok: true, result }));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      record.answer = { ok: false, error_code: error.code, description: error.message };
      return answer(error.code, refusalBody(error));
    }
  }

  #record(method: string, parameters: Parameters): CallRecord {
    const record: CallRecord = {
      seq: ++this.#lastSeq,
      method,
      at: this.#world.clock.now(),
      ended_at: null,
      parameters: parameters.toLog(),
      answer: null,
      outcome: 'waiting',
      faults: [],
    };
    this.#calls.push(record);
    if (this.#calls.length > MAX_CALLS) this.#calls = this.#calls.slice(-MAX_CALLS / 2);
    return record;
  }
}

/** The answer to a refused call. */
export function refusalBody({ code, message, parameters }: Refusal): string {
  const body: {
    ok: false;
    error_code: number;
    description: string;
    parameters?: RefusalParameters;
  } = { ok: false, error_code: code, description: message };
  if (parameters !== undefined) body.parameters = parameters;
  return JSON.stringify(body);
}

export function answer(
  status: number,
  body: string,
  rest: Partial<Pick<HttpAnswer, 'cut' | 'type'>> = {},
): HttpAnswer {
  return { status, type: 'application/json', body, cut: null, done: () => {}, ...rest };
}

/** What comes instead of carrying the call out. */
function faultBefore(faults: readonly Fault[]): HttpAnswer | undefined {
  for (const fault of faults) {
    if (fault.type === 'retry_after') {
      const { seconds } = fault;
      const words = `Too Many Requests: retry after ${seconds}`;
      return answer(429, refusalBody(new Refusal(429, words, { retry_after: seconds })));
    }
    if (fault.type === 'status' && fault.processed !== true) return statusAnswer(fault);
    if (fault.type === 'cut' && fault.when === 'before') return answer(200, '', { cut: 'before' });
  }
  return undefined;
}

/** What comes instead of the answer of a call that was carried out. */
function faultAfter(faults: readonly Fault[]): Partial<HttpAnswer> | undefined {
  for (const fault of faults) {
    if (fault.type === 'status') {
      const { status, type, body } = statusAnswer(fault);
      return { status, type, body };
    }
    if (fault.type === 'cut') return { cut: fault.when === 'body' ? 'body' : 'before' };
  }
  return undefined;
}

const reasons = new Map([
  [500, 'Internal Server Error'],
  [502, 'Bad Gateway'],
  [503, 'Service Unavailable'],
  [504, 'Gateway Timeout'],
]);

function statusAnswer({ code, html }: Extract<Fault, { type: 'status' }>): HttpAnswer {
  const reason = reasons.get(code) ?? 'Error';
  if (html !== true) return answer(code, refusalBody(new Refusal(code, reason)));
  const page = `<html>\r\n<head><title>${code} ${reason}</title></head>\r\n<body>\r\n<center><h1>${code} ${reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`;
  return answer(code, page, { type: 'text/html' });
}

function messageIdOf(result: unknown): { message_id?: number } {
  if (typeof result !== 'object' || result === null || !('message_id' in result)) return {};
  return typeof result.message_id === 'number' ? { message_id: result.message_id } : {};
}
