import {
  type ApprovalDecision,
  DuragentError,
  type ErrorCode,
  idPattern,
  type InlineKeyboard,
  queueModeSchema,
} from '@duragent/protocol';
import {
  findSlashCommand,
  parseSlashCommand,
  type SlashCommandName,
  slashCommands,
} from '../core/slash-command.ts';
import { oneLine } from '../core/display-text.ts';
import type { SessionSummary } from '../core/session/summary.ts';
import { answeredCard } from '../core/session/cards.ts';
import { isSameChat } from '../core/session/chat-key.ts';
import { type ChatPlace, keyOf } from './gateways/bindings.ts';
import type { ConsentDesk } from './consent-desk.ts';
import type { ChatSessions } from './gateways/chat-sessions.ts';
import type { PairingDesk } from './gateways/pairing-desk.ts';
import type { SessionActor } from './session-actor.ts';

/** Sessions that `/sessions` lists. */
const LISTED = 10;
/** Buttons of the sessions; a platform shows few. */
const LISTED_BUTTONS = 5;

/** What is typed in a chat, or pressed, for the server itself. */
export interface SlashAsk {
  place: ChatPlace;
  /** The agent that the chat's messages are for. */
  agent: string;
  /** Its number in the inbox. */
  n: number;
  /** `/name args` as it was typed, or a button's data. */
  text: string;
  /** `<gateway>:<platform id>`. */
  by: string;
  isOwner: boolean;
}

/** What the chat is told; short, and with the session's name. */
export interface SlashAnswer {
  text: string;
  keyboard?: InlineKeyboard;
  /** What a card that was pressed says from then on; absent: `text`. */
  card?: string;
  /** Nothing was done: a card that was pressed stays as it is. */
  isRefused?: true;
}

export interface SlashDeps {
  chats: ChatSessions;
  pairing: PairingDesk;
  consent: Pick<ConsentDesk, 'decideInChat' | 'answer' | 'cardOf'>;
  summaries: () => SessionSummary[];
  /** Whether the asker owns an agent. */
  isOwnerOf: (agent: string) => Promise<boolean>;
  /** Tells a stranger who was let in. */
  welcome: (chat: { gateway: string; chat_id: string; thread_id?: string }) => void;
}

/** Does what a slash command or a button asks for. Twice for one number changes nothing the second time. */
export async function runSlashCommand(ask: SlashAsk, deps: SlashDeps): Promise<SlashAnswer | null> {
  // Whom it was addressed to was looked at when it came.
  const typed = parseSlashCommand(ask.text.replace(ADDRESSEE, '$1'));
  const command = typed && findSlashCommand(typed.name);
  if (!command) return { text: 'This button is no longer known.' };
  if (command.ownerOnly && !ask.isOwner) {
    return { text: `Only an owner may use /${command.name}.`, isRefused: true };
  }
  const actor = await deps.chats.current(ask.place);
  const bound = actor?.chats.find((chat) => isSameChat(chat, ask.place));
  // What people decide or answer counts once by itself: it may have been remembered and not done.
  const isOnce = deciders.has(command.name) || typed.args.startsWith('appr_');
  if (bound && bound.inbox >= ask.n && !isOnce) return null;
  try {
    return await run(command.name, typed.args, actor, ask, deps);
  } catch (error) {
    if (error instanceof DuragentError && isTheirs(error)) {
      const card = actor && isOnce ? await cardOf(typed.args, error, actor, deps) : null;
      if (card !== null) return { text: error.message, card };
      return { text: error.message, ...(isRefusal(error) ? { isRefused: true } : {}) };
    }
    throw error;
  }
}

/** What a card says that was decided elsewhere before it was pressed; null: not known. */
async function cardOf(
  args: string,
  { code }: DuragentError,
  { session }: SessionActor,
  { consent }: SlashDeps,
): Promise<string | null> {
  const [id = ''] = args.trim().split(/\s+/);
  return code === 'conflict' ? await consent.cardOf(session, id) : null;
}

const deciders: ReadonlySet<string> = new Set<SlashCommandName>(['deny', 'answer']);

const ADDRESSEE = /^(\/\w{1,32})@\w{1,64}/;

const theirs: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'conflict',
  'session_not_found',
  'session_ended',
  'forbidden',
  'invalid_request',
]);

/** Whether an error says what the person did wrong. */
function isTheirs({ code }: DuragentError): boolean {
  return theirs.has(code);
}

/** Whether nothing was done, and somebody else may still do it. */
function isRefusal({ code }: DuragentError): boolean {
  return code === 'forbidden' || code === 'invalid_request';
}

async function run(
  name: SlashCommandName,
  args: string,
  actor: SessionActor | null,
  ask: SlashAsk,
  deps: SlashDeps,
): Promise<SlashAnswer> {
  const { place, n, by } = ask;
  // Remembered first: what is done below is done once, also when the server is killed meanwhile.
  // Those that move the chat to another session remember it there.
  if (actor && !movers.has(name)) await actor.bind({ ...place, inbox: n, by });
  switch (name) {
    case 'new':
      return fresh(null, ask, deps);
    case 'reset':
      return fresh('reset', ask, deps);
    case 'attach':
      return attach(args, ask, deps);
    case 'detach':
      return detach(actor, ask, deps);
    case 'help':
      return { text: helpText(ask.isOwner) };
    case 'stop': {
      const { turn } = (await actor?.cancel()) ?? { turn: null };
      return { text: turn === null ? 'Nothing is under way.' : `Stopped. ${actor?.session ?? ''}` };
    }
    case 'pause':
      return pause(actor, by);
    case 'resume':
      return resume(actor, by);
    case 'status':
      return { text: actor ? statusText(actor) : 'This chat has no session yet; write something.' };
    case 'sessions':
      return listSessions(actor, ask, deps);
    case 'approve':
      return args.startsWith('appr_')
        ? decide(args, ask, deps)
        : ask.isOwner
          ? approve(args, ask, deps)
          : { text: 'Only an owner may let somebody in.', isRefused: true };
    case 'deny':
      return decide(`${args} deny`, ask, deps);
    case 'answer':
      return answerQuestion(args, actor, ask, deps);
    case 'queue':
      return setQueue(args, actor, by);
    case 'activation':
      return setActivation(args, actor, by);
  }
}

const movers: ReadonlySet<SlashCommandName> = new Set(['new', 'reset', 'attach', 'detach']);

async function fresh(
  end: 'reset' | null,
  { place, agent, n }: SlashAsk,
  deps: SlashDeps,
): Promise<SlashAnswer> {
  const { session } = await deps.chats.fresh(place, agent, n, end);
  return { text: `A fresh session with ${agent}: ${session}` };
}

async function attach(wanted: string, ask: SlashAsk, deps: SlashDeps): Promise<SlashAnswer> {
  if (wanted === '') return { text: 'Which session? /sessions lists them: /attach <session>' };
  const found = (await visibleSessions(ask, deps)).filter(({ session }) =>
    isMeant(session, wanted),
  );
  const [only, ...others] = found;
  if (!only) {
    const text = 'There is no such session, or it is not yours. /sessions lists yours.';
    return { text, isRefused: true };
  }
  if (others.length > 0) return { text: 'More than one session is called so; write more of it.' };
  const actor = await deps.chats.attach(ask.place, only.session, ask.n, ask.by);
  return { text: `This chat now shows and drives ${actor.session}. /detach goes back.` };
}

async function detach(
  actor: SessionActor | null,
  ask: SlashAsk,
  deps: SlashDeps,
): Promise<SlashAnswer> {
  if (!actor) return { text: 'This chat has no session yet; write something.' };
  if (!deps.chats.isAttached(actor, ask.place)) {
    return { text: `This chat is in its own session: ${actor.session}` };
  }
  const own = deps.chats.ownOf(ask.place, ask.agent, actor.session);
  const back = own
    ? await deps.chats.attach(ask.place, own, ask.n, ask.by)
    : await deps.chats.fresh(ask.place, ask.agent, ask.n);
  return { text: `This chat is back in its own session: ${back.session}` };
}

/** A session's id, or the end of it that people copy. */
function isMeant(session: string, wanted: string): boolean {
  return session === wanted || (wanted.length >= 6 && session.endsWith(wanted));
}

/** Sessions that the asker may drive: this chat's own with its agent, and all of agents that they own. */
async function visibleSessions(ask: SlashAsk, deps: SlashDeps): Promise<SessionSummary[]> {
  const here = keyOf(ask.place);
  const isOwn = ({ agent, origin, chats }: SessionSummary): boolean => {
    if (agent !== ask.agent) return false;
    const { chat } = origin;
    return (
      chats.some((one) => keyOf(one) === here) ||
      (chat !== undefined && keyOf({ ...chat, chat_type: ask.place.chat_type }) === here)
    );
  };
  const alive = deps.summaries().filter(({ ended_at }) => ended_at === undefined);
  // What is said in private is not listed where others read it.
  if (ask.place.chat_type !== 'dm') return alive.filter(isOwn);
  const owned = new Map<string, boolean>();
  for (const { agent } of alive) {
    if (!owned.has(agent)) owned.set(agent, await deps.isOwnerOf(agent));
  }
  return alive.filter((summary) => owned.get(summary.agent) === true || isOwn(summary));
}

async function listSessions(
  actor: SessionActor | null,
  ask: SlashAsk,
  deps: SlashDeps,
): Promise<SlashAnswer> {
  const sessions = (await visibleSessions(ask, deps)).slice(0, LISTED);
  if (sessions.length === 0) return { text: 'There is no session yet; write something.' };
  const lines = sessions.map(({ session, agent, preview }) => {
    const here = session === actor?.session ? ' (here)' : '';
    return `${session}${here} ${agent}: ${oneLine(preview ?? '', 40)}`;
  });
  const others = sessions.filter(({ session }) => session !== actor?.session);
  const keyboard = others.slice(0, LISTED_BUTTONS).map(({ session, preview }) => [
    {
      text: `Attach ${session.slice(-6)} ${oneLine(preview ?? '', 20)}`.trim(),
      data: `/attach ${session}`,
    },
  ]);
  return { text: lines.join('\n'), ...(keyboard.length > 0 ? { keyboard } : {}) };
}

async function approve(code: string, ask: SlashAsk, deps: SlashDeps): Promise<SlashAnswer> {
  if (code === '') return { text: 'Which code? /approve <code>' };
  const approved = await deps.pairing.approve(code, { agent: ask.agent, by: ask.by });
  if (!approved) return { text: 'No open request has this code; it may be over an hour old.' };
  deps.welcome(approved.request.chat);
  const { name, sender } = approved.pairing;
  return {
    text: `${name === '' ? sender : `${name} (${sender})`} may now speak with ${ask.agent}.`,
  };
}

const decisions: ReadonlyMap<string, [ApprovalDecision, string]> = new Map([
  ['', ['allow_once', 'Allowed once.']],
  ['always', ['allow_always', 'Allowed, always from now on.']],
  ['deny', ['deny', 'Denied.']],
]);

/** `appr_…`, `appr_… always` or `appr_… deny`. */
async function decide(args: string, ask: SlashAsk, deps: SlashDeps): Promise<SlashAnswer> {
  const [approval = '', how = '', ...rest] = args.trim().split(/\s+/);
  const [decision, done] = decisions.get(how) ?? [];
  if (!decision || rest.length > 0 || !idPattern('appr').test(approval)) {
    return { text: '/approve <approval>, /approve <approval> always, /deny <approval>' };
  }
  const { by, place } = ask;
  const isDirect = place.chat_type === 'dm';
  const chat = { by, chat: place, isDirect };
  const { session, card } = await deps.consent.decideInChat(approval, decision, chat);
  return { text: `${done} ${session}`, card };
}

/** `q_… 2` or `q_… some text`. Who may write to a session may answer what it asks. */
async function answerQuestion(
  args: string,
  actor: SessionActor | null,
  { by }: SlashAsk,
  deps: SlashDeps,
): Promise<SlashAnswer> {
  const match = /^(q_\w{1,40})\s+(\S.*)$/s.exec(args);
  if (!match) return { text: 'Which question, and what answer? /answer <question> <answer>' };
  const [, question = '', answer = ''] = match;
  if (!actor?.asked.some(({ id }) => id === question)) {
    const said = 'This chat has no such question open; it may have been answered already.';
    const card = actor && (await deps.consent.cardOf(actor.session, question));
    return { text: said, ...(card == null ? {} : { card }) };
  }
  const text = await deps.consent.answer(actor.session, question, answer, by, { numbered: true });
  const { session } = actor;
  return {
    text: `Answered: ${text.slice(0, 200)}. ${session}`,
    card: answeredCard(text, by, session),
  };
}

async function pause(actor: SessionActor | null, by: string): Promise<SlashAnswer> {
  if (!actor) return { text: 'This chat has no session yet; write something.' };
  await actor.pause(by);
  const isStopping = ['working', 'queued'].includes(actor.view().turn_state);
  const how = isStopping ? 'It stops after what it is doing now. ' : '';
  return { text: `Paused. ${how}What is written waits until /resume. ${actor.session}` };
}

async function resume(actor: SessionActor | null, by: string): Promise<SlashAnswer> {
  if (!actor) return { text: 'This chat has no session yet; write something.' };
  await actor.resume(by);
  return { text: `It goes on. ${actor.session}` };
}

async function setQueue(
  value: string,
  actor: SessionActor | null,
  by: string,
): Promise<SlashAnswer> {
  const modes = queueModeSchema.options;
  if (!actor) return { text: 'This chat has no session yet; write something.' };
  const mode = queueModeSchema.safeParse(value);
  if (value === '' || (!mode.success && value !== 'default')) {
    const now = actor.settings.queue ?? 'as the agent says';
    const odd = value === '' ? '' : `There is no mode ${value.slice(0, 40)}. `;
    return {
      text: `${odd}Messages while a turn works: ${now}. ${actor.session}`,
      keyboard: modes.map((one) => [{ text: one, data: `/queue ${one}` }]),
    };
  }
  await actor.set('queue', mode.success ? mode.data : null, by);
  return { text: `Messages while a turn works: ${value}. ${actor.session}` };
}

async function setActivation(
  value: string,
  actor: SessionActor | null,
  by: string,
): Promise<SlashAnswer> {
  if (!actor) return { text: 'This chat has no session yet; write something.' };
  if (value !== 'mention' && value !== 'always' && value !== 'default') {
    const now = actor.settings.activation ?? 'as the agent says';
    const odd = value === '' ? '' : `There is no activation ${value.slice(0, 40)}. `;
    return {
      text: `${odd}The agent answers: ${now}. ${actor.session}`,
      keyboard: ['mention', 'always'].map((one) => [{ text: one, data: `/activation ${one}` }]),
    };
  }
  await actor.set('activation', value === 'default' ? null : value, by);
  return { text: `The agent answers: ${value}. ${actor.session}` };
}

function statusText(actor: SessionActor): string {
  const { session, agent, status, turn_state, turns, usage, clients } = actor.view();
  const tokens = usage.input_tokens + usage.output_tokens;
  return `${session}\n${agent}, ${status}, ${turn_state}; ${turns} turns, ${tokens} tokens, ${clients} attached`;
}

function helpText(isOwner: boolean): string {
  return slashCommands
    .filter(({ ownerOnly }) => isOwner || !ownerOnly)
    .map(
      ({ name, argument, description }) =>
        `/${name}${argument === null ? '' : ` ${argument}`} – ${description}`,
    )
    .join('\n');
}
