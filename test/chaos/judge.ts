import type { Delivery, EventOf, SessionEvent } from '@duragent/protocol';
import type { ShownMessage } from '../../gateways/telegram/simulator/control/sight.ts';
import { eventsOf, settledFaults, textOf, type LogReading } from '../support/session-log.ts';
import { marksOf, wordsOf } from './answers.ts';
import type { Said } from './crowd.ts';
import type { Evidence } from './evidence.ts';

/** Something that must not be. */
export interface Finding {
  what: string;
  /** About when it happened, in ms since 1970. */
  at: number;
  /** Where: a chat, or a topic of it, as `chat` or `chat/thread`. */
  chat: string | null;
  session: string | null;
}

/** How the further copies of a part begin that may have been posted before. */
const REPEATED_MARK = '[sent again]';

/** Compares, at rest, what was said and what is shown with what the logs say. */
export function judge(evidence: Evidence): Finding[] {
  const { damage, logs } = evidence;
  if (damage !== null) return [finding(damage)];
  return [
    ...logs.flatMap((log) => judgeLog(log, evidence)),
    ...judgeArrivals(evidence),
    ...judgeChats(evidence),
  ];
}

function finding(what: string, where: Partial<Omit<Finding, 'what'>> = {}): Finding {
  return { what, at: Date.now(), chat: null, session: null, ...where };
}

/** What was said is in one log, once, and in its order. */
function judgeArrivals({ said, updates, logs, files }: Evidence): Finding[] {
  const findings: Finding[] = [];
  const states = new Map(updates.map(({ update_id, state }) => [update_id, state]));
  const found = new Map<string, { log: LogReading; event: EventOf<'user_message'> }[]>();
  for (const log of logs) {
    for (const event of eventsOf(log.events, 'user_message')) {
      const key = `${event.source.chat?.chat_id}/${event.source.chat?.message_id}`;
      found.set(key, [...(found.get(key) ?? []), { log, event }]);
    }
  }
  const lastInPlace = new Map<string, { seq: number; session: string; mark: string }>();
  for (const one of said) {
    const key = `${one.place.chat_id}/${one.message_id}`;
    const where = { at: one.at, chat: placeOf(one.place) };
    const tell = (what: string): void => void findings.push(finding(`${one.mark} ${what}`, where));
    const state = states.get(one.update_id);
    if (state !== 'confirmed') tell(`was not taken from the platform: it is ${state ?? 'gone'}`);
    const taken = found.get(key) ?? [];
    found.delete(key);
    const [first, second] = taken;
    if (first === undefined) {
      if (state === 'confirmed') tell('was confirmed to the platform and is in no log');
      continue;
    }
    if (second !== undefined) {
      const places = taken.map(({ log, event }) => `${log.session} seq ${event.seq}`);
      tell(`is in the logs ${taken.length} times: ${places.join(', ')}`);
    }
    for (const fault of contentFaults(one, first.event, files)) tell(fault);
    const { session } = first.log;
    const before = lastInPlace.get(where.chat);
    if (before !== undefined && before.session !== session) {
      tell(`is in ${session}, and ${before.mark} of the same chat is in ${before.session}`);
    } else if (before !== undefined && before.seq > first.event.seq) {
      tell(`stands before ${before.mark} in the log, and was said after it`);
    }
    lastInPlace.set(where.chat, { seq: first.event.seq, session, mark: one.mark });
  }
  for (const [key, [extra]] of found) {
    findings.push(finding(`${key} is in ${extra?.log.session} and was never said`));
  }
  return findings;
}

function contentFaults(
  said: Said,
  event: EventOf<'user_message'>,
  files: ReadonlyMap<string, string>,
): string[] {
  const faults: string[] = [];
  const text = textOf(event);
  if (marksOf(text).join() !== said.mark) faults.push(`reads ${JSON.stringify(text)} in the log`);
  const handling = said.isAsked ? 'turn' : 'passive';
  if (event.handling !== handling) faults.push(`is ${event.handling} and should be ${handling}`);
  const thread = event.source.chat?.thread_id;
  if (thread !== said.place.thread_id?.toString()) faults.push(`is of thread ${thread}`);
  const kept = event.content.flatMap((part) => (part.type === 'file' ? [part] : []));
  if (said.sha256 === null) {
    if (kept.length > 0) faults.push('has a file that was not sent');
    return faults;
  }
  const [file] = kept;
  // One that the platform did not give is named instead.
  if (file === undefined && text.includes('[document: ')) return faults;
  if (kept.length !== 1 || file === undefined) faults.push(`has ${kept.length} files`);
  else if (files.get(file.artifact) !== said.sha256) {
    faults.push(`has ${file.artifact}, which is another file or none`);
  }
  return faults;
}

/** What one log says of its turns and answers. */
function judgeLog({ session, events }: LogReading, { given }: Evidence): Finding[] {
  const findings: Finding[] = [];
  const tell = (what: string, event?: SessionEvent): void => {
    const at = event === undefined ? Date.now() : Date.parse(event.at);
    const seq = event === undefined ? '' : `seq ${event.seq}: `;
    findings.push(finding(`${session} ${seq}${what}`, { at, session }));
  };
  for (const fault of settledFaults(events)) tell(fault);
  const marks = new Map(
    eventsOf(events, 'user_message').map((event) => [event.message_id, marksOf(textOf(event))[0]]),
  );
  const triggers = new Map(
    eventsOf(events, 'turn_started').map(({ turn, trigger }) => [turn, trigger]),
  );
  const answers = new Map(given.map((answer) => [answer.text, answer]));
  for (const event of eventsOf(events, 'assistant_message')) {
    const answer = answers.get(textOf(event));
    if (answer === undefined) {
      tell('is no answer that the model gave', event);
      continue;
    }
    const asked = (triggers.get(event.turn) ?? []).map((id) => marks.get(id));
    if (asked.join() !== answer.to) tell(`answers ${answer.to}, asked was ${asked.join()}`, event);
  }
  for (const event of eventsOf(events, 'turn_finished')) {
    const crashes = events.filter(
      (one) => one.type === 'turn_resumed' && one.turn === event.turn && one.cause === 'crash',
    );
    const isGivenUp = event.outcome === 'needs_attention' && crashes.length >= 2;
    if (event.outcome !== 'completed' && !isGivenUp) tell(`the turn is ${event.outcome}`, event);
  }
  return findings;
}

/** A part of something that a session owes a chat. */
interface OwedPart {
  session: string;
  out: string;
  part: number;
  seq: number;
  at: number;
  words: string;
  /** Message on the platform that the log says it is. */
  message: string | null;
  outcome: string | null;
  /** How often it was not known whether it was posted. */
  doubts: number;
}

/** What is owed is shown, once: a further copy says that it is one. */
function judgeChats({ logs, messages, outbox, given }: Evidence): Finding[] {
  const findings: Finding[] = [];
  const owed = new Map<string, OwedPart[]>();
  for (const log of logs) {
    for (const [chat, part] of owedBy(log, findings)) {
      owed.set(chat, [...(owed.get(chat) ?? []), part]);
    }
  }
  const dead = new Set(outbox.filter(({ state }) => state === 'dead').map(({ out }) => out));
  const shown = new Map<string, ShownMessage[]>();
  for (const message of messages.filter(({ is_from_bot }) => is_from_bot)) {
    const chat = placeOf({ ...message, thread_id: message.thread_id ?? undefined });
    shown.set(chat, [...(shown.get(chat) ?? []), message]);
  }
  const whole = given.map(({ text }) => wordsOf(text));
  for (const chat of new Set([...owed.keys(), ...shown.keys()])) {
    findings.push(
      ...judgeChat(chat, {
        owed: owed.get(chat) ?? [],
        shown: shown.get(chat) ?? [],
        dead,
        given: whole,
      }),
    );
  }
  return findings;
}

function judgeChat(
  chat: string,
  about: {
    owed: readonly OwedPart[];
    shown: readonly ShownMessage[];
    dead: ReadonlySet<string>;
    given: readonly string[];
  },
): Finding[] {
  const { owed, shown, dead, given } = about;
  const findings: Finding[] = [];
  const tell = (what: string, part?: OwedPart): void => {
    const where = part === undefined ? {} : { at: part.at, session: part.session };
    const name = part === undefined ? '' : `${part.session} seq ${part.seq} part ${part.part}: `;
    findings.push(finding(`${name}${what}`, { chat, ...where }));
  };
  // Two notices may have one text.
  const copies = Map.groupBy(shown, ({ text }) => wordsOf(unmarked(text)));
  const wanted = Map.groupBy(owed, ({ words }) => words);
  let last: { message: number; part: OwedPart } | null = null;
  for (const part of owed) {
    const isDead = part.outcome === 'dead';
    // After too many doubts it is given up; nothing else is refused here.
    if (isDead && part.doubts === 0) tell('died, and was never in doubt', part);
    if (isDead && !dead.has(part.out)) tell('died, and the outbox does not show it', part);
    if (part.outcome !== 'delivered') {
      if (!isDead && !dead.has(part.out)) tell(`is still ${part.outcome ?? 'owed'}`, part);
      continue;
    }
    // Some platforms give no ids; then only the words count.
    if (part.message === null) continue;
    const message = shown.find(({ message_id }) => String(message_id) === part.message);
    if (message === undefined) {
      tell(`message ${part.message} is not there`, part);
      continue;
    }
    if (wordsOf(unmarked(message.text)) !== part.words) {
      tell(`message ${message.message_id} shows something else: ${brief(message.text)}`, part);
    }
    if (last !== null && last.message > message.message_id) {
      tell(`is message ${message.message_id}, above ${last.message} that was owed before`, part);
    }
    last = { message: message.message_id, part };
  }
  for (const [words, parts] of wanted) {
    const same = copies.get(words) ?? [];
    const [first] = parts;
    const plain = same.filter(({ text }) => !isMarked(text)).length;
    const doubts = parts.reduce((sum, part) => sum + part.doubts, 0);
    const delivered = parts.filter(({ outcome }) => outcome === 'delivered').length;
    if (same.length < delivered) tell('is delivered, and is not shown', first);
    if (plain > parts.length) tell(`is shown ${plain} times without a mark`, first);
    if (same.length - plain > doubts) {
      tell(
        `is marked as sent again ${same.length - plain} times; it was in doubt ${doubts} times`,
        first,
      );
    }
  }
  for (const [words, messages] of copies) {
    const [message] = messages;
    if (wanted.has(words) || message === undefined) continue;
    // Begun, and never finished: its sender was killed, or its answer was made anew.
    const isBegun = !messages.some(({ text }) => isMarked(text));
    if (isBegun && given.some((answer) => answer.startsWith(words))) continue;
    const at = message.date * 1000;
    findings.push(
      finding(`message ${message.message_id} is owed by nobody: ${brief(message.text)}`, {
        at,
        chat,
      }),
    );
  }
  return findings;
}

/** The parts that a log owes, in its order, each with its chat. */
function owedBy({ session, events }: LogReading, findings: Finding[]): [string, OwedPart][] {
  const owed: [string, OwedPart][] = [];
  const parts = new Map<string, OwedPart>();
  const edits = new Set<string>();
  for (const event of events) {
    if ('deliveries' in event && event.deliveries !== undefined) {
      const text = spokenText(event);
      for (const delivery of event.deliveries) {
        // Of a card only its buttons go.
        if (delivery.edits) edits.add(delivery.out);
        else
          for (const [index, words] of partsOf(delivery, text, session, findings).entries()) {
            const { out } = delivery;
            const [part, at] = [index + 1, Date.parse(event.at)];
            const about = { session, out, part, seq: event.seq, at, words };
            const one: OwedPart = { ...about, message: null, outcome: null, doubts: 0 };
            parts.set(`${out}/${part}`, one);
            owed.push([placeOf(delivery), one]);
          }
      }
    }
    if (event.type !== 'delivery_finished' || edits.has(event.out)) continue;
    const part = parts.get(`${event.out}/${event.part}`);
    const where = { at: Date.parse(event.at), session };
    if (part === undefined || part.outcome === 'delivered') {
      findings.push(
        finding(`${session} seq ${event.seq}: ends a delivery that is not open`, where),
      );
      continue;
    }
    part.outcome = event.outcome;
    part.message = event.platform_message_id ?? null;
    if (event.outcome === 'uncertain') part.doubts += 1;
  }
  return owed;
}

/** The words of each part; the bodies joined have to be the text. */
function partsOf(delivery: Delivery, text: string, session: string, findings: Finding[]): string[] {
  let end = 0;
  const words = delivery.parts.map((part) => {
    if ('file' in part) return '';
    if (part.from !== end) {
      findings.push(
        finding(`${delivery.out}: a part begins at ${part.from}, not ${end}`, { session }),
      );
    }
    end = part.to;
    return wordsOf(part.prefix + text.slice(part.from, part.to) + part.suffix);
  });
  if (end !== text.length) {
    findings.push(
      finding(`${delivery.out}: its parts end at ${end} of ${text.length}`, { session }),
    );
  }
  return words;
}

function spokenText(event: SessionEvent): string {
  if (event.type === 'notice') return event.text;
  return event.type === 'assistant_message' ? textOf(event) : '';
}

/** A chat or topic, whoever names it. */
export function placeOf(place: {
  chat_id: number | string;
  thread_id?: number | string | undefined;
}): string {
  return place.thread_id === undefined ? `${place.chat_id}` : `${place.chat_id}/${place.thread_id}`;
}

function isMarked(text: string): boolean {
  return text.startsWith(REPEATED_MARK);
}

function unmarked(text: string): string {
  return isMarked(text) ? text.slice(REPEATED_MARK.length) : text;
}

function brief(text: string): string {
  return JSON.stringify(text.length <= 100 ? text : `${text.slice(0, 100)}…`);
}
