import type { StoredRecord } from '../../ports/session-store.ts';
import type { HttpDeps, OpenSession, RouteContext } from '../context.ts';
import { encodeFrame } from '../frames.ts';
import { openSession, queryChoice, queryNumber } from '../input.ts';
import { type AddRoute, sendJsonText } from '../route.ts';
import { sendEvents } from '../sse.ts';

const MAX_WAIT_S = 60;
/** The most that one long poll gives. */
const MAX_EVENTS = 1000;
const MAX_UNITS = 4 * 1024 * 1024;
const CHUNK = 100;
/** What a reader with an unknown id is given. */
const TAIL = 100;

/** The events of one session, as a stream that can be resumed, or by long polls. */
export function eventRoutes(add: AddRoute, deps: HttpDeps): void {
  add('GET', '/api/v1/sessions/:id/events', 'read', async (ctx) => {
    const presence = queryChoice(ctx, 'presence', ['0', '1']) !== '0';
    const wait = queryNumber(ctx, 'wait', { min: 0, max: 86_400, fallback: null });
    const session = await openSession(ctx, deps.sessions);
    const after = resumeFrom(ctx);
    if (wantsJson(ctx)) {
      const waitMs = Math.min(wait ?? 0, MAX_WAIT_S) * 1000;
      await longPoll(ctx, session, { after, waitMs, presence }, deps);
      return;
    }
    sendEvents(ctx, deps, {
      frames: (signal) => session.subscribe({ after, signal, presence }),
      encode: encodeFrame,
    });
  });
}

/** The seq to go on behind: `Last-Event-ID` before `?after=`; 0 without either; NaN for what is no seq. */
function resumeFrom(ctx: RouteContext): number {
  const header = ctx.req.headers['last-event-id'];
  const id = header === undefined || header === '' ? ctx.query['after'] : header;
  if (id === undefined || id === '') return 0;
  return typeof id === 'string' && /^(?:0|[1-9]\d{0,14})$/.test(id) ? Number(id) : NaN;
}

function wantsJson({ req }: RouteContext): boolean {
  const accept = req.headers.accept ?? '';
  return accept.includes('application/json') && !accept.includes('text/event-stream');
}

/**
 * Answers `{events, last_seq}`, at once or when there is something, at the latest after `waitMs`.
 * `last_seq` is what the next poll asks `after`. For an id that is not of this log, `reset` is
 * true and the events are the tail. While it waits, the client counts as attached.
 */
async function longPoll(
  ctx: RouteContext,
  session: OpenSession,
  { after, waitMs, presence }: { after: number; waitMs: number; presence: boolean },
  { clock }: HttpDeps,
): Promise<void> {
  const { scope } = ctx.state;
  const isReset = !(after <= session.lastSeq);
  const from = isReset ? Math.max(0, session.lastSeq - TAIL) : after;
  if (from === session.lastSeq && waitMs > 0) {
    scope.unlimited();
    const timeout = new AbortController();
    const cancel = clock.after(waitMs, () => timeout.abort());
    try {
      const signal = AbortSignal.any([scope.signal, timeout.signal]);
      for await (const frame of session.subscribe({ after: from, signal, presence })) {
        if (frame.kind === 'event') break;
      }
    } finally {
      cancel();
    }
  }
  const records = await readForward(session, from);
  const last = records.at(-1)?.event.seq ?? session.lastSeq;
  const lines = records.map((record) => record.line).join(',');
  const reset = isReset ? ',"reset":true' : '';
  sendJsonText(ctx, 200, `{"events":[${lines}],"last_seq":${last}${reset}}`);
}

async function readForward(session: OpenSession, from: number): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  let units = 0;
  let after = from;
  while (records.length < MAX_EVENTS && units < MAX_UNITS && after < session.lastSeq) {
    const chunk = await session.read(after, CHUNK);
    for (const record of chunk) {
      records.push(record);
      units += record.line.length;
      if (units >= MAX_UNITS) return records;
    }
    const last = chunk.at(-1);
    if (!last) return records;
    after = last.event.seq;
  }
  return records;
}
