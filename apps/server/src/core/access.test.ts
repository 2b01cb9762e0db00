import {
  callbackQuerySchema,
  messageReceivedSchema,
  type CallbackQuery,
  type MessageReceived,
} from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { evaluateAccess, type AccessDecision } from './access.ts';
import cases from './access-cases.json' with { type: 'json' };
import {
  accessOf,
  accessSchema,
  type AgentAccess,
  type SenderDisposition,
} from './agent-access.ts';
import { arrivalOf, type Arrival } from './arrival.ts';

/** One row of the table: who does what where, under which rules. */
interface Case {
  who: Role;
  by: Surface;
  chat: Arrival['chatType'];
  /** Of the kind of chat. */
  policy: 'open' | 'disabled' | 'allowlist' | 'pairing';
  /** What the allowlist holds: of senders in direct chats, of chats elsewhere. */
  list: Listed;
  /** The sender's own override, that of its gateway, and the default of senders. */
  own: SenderDisposition | null;
  all: SenderDisposition | null;
  rest: SenderDisposition;
}

const roles = ['owner', 'paired', 'stranger', 'bot', 'owning bot', 'paired bot'] as const;
const surfaces = ['message', 'edit', 'command', 'file', 'button'] as const;
const lists = ['nothing', 'id', 'gateway', 'other id', 'other gateway'] as const;
type Role = (typeof roles)[number];
type Surface = (typeof surfaces)[number];
type Listed = (typeof lists)[number];
const policies = ['open', 'disabled', 'allowlist', 'pairing'] as const;
const dispositions = ['allow', 'passive', 'silent', 'block'] as const;
const overrides = [null, ...dispositions] as const;

/** The rule once more, as sentences about words; it knows no ids. */
function oracle(row: Case): AccessDecision['disposition'] {
  const bot = row.who.endsWith('bot');
  const listed = row.list === 'id' || row.list === 'gateway';
  const sentences: [when: boolean, then: AccessDecision['disposition']][] = [
    [row.chat === 'dm' && bot, 'block'],
    [row.chat === 'dm' && row.who === 'owner', 'allow'],
    [row.chat === 'dm' && row.policy === 'open', 'allow'],
    [row.chat === 'dm' && row.policy === 'disabled', 'block'],
    [row.chat === 'dm' && listed, 'allow'],
    [row.chat === 'dm' && row.policy === 'allowlist', 'block'],
    [row.chat === 'dm' && row.who === 'paired', 'allow'],
    [row.chat === 'dm', 'pairing'],
    [row.policy === 'disabled', 'block'],
    [row.policy === 'allowlist' && !listed, 'block'],
    [row.who === 'owner', 'allow'],
    [row.own !== null, row.own ?? 'block'],
    [bot && row.all === 'allow', 'passive'],
    [row.all !== null, row.all ?? 'block'],
    [bot && row.rest === 'allow', 'passive'],
  ];
  return sentences.find(([when]) => when)?.[1] ?? row.rest;
}

const SENDER = '123';
const CHAT = '-100';

function accessFor(row: Case): AgentAccess {
  const id = row.chat === 'dm' ? SENDER : CHAT;
  const listed: Record<Listed, string[]> = {
    nothing: [],
    id: ['discord:*', `telegram:${id}`],
    gateway: ['telegram:*'],
    // The ids of the other kind, of other gateways, and longer ones.
    'other id': [
      `telegram:${row.chat === 'dm' ? CHAT : SENDER}`,
      `discord:${id}`,
      `telegram:${id}4`,
      `telegram:bob`,
    ],
    'other gateway': ['discord:*', 'telegram-2:*'],
  };
  const direct = row.chat === 'dm';
  const other = { policy: 'disabled', allowlist: [] };
  const rules = { policy: row.policy, allowlist: listed[row.list] };
  const written = {
    owners: row.who.startsWith('own') ? ['telegram:99', `telegram:${SENDER}`] : ['telegram:99'],
    dm: direct ? rules : other,
    groups: {
      ...(direct ? other : rules),
      sender_default: row.rest,
      sender_overrides: {
        'telegram:99': 'allow',
        'discord:*': 'allow',
        ...(row.own === null ? {} : { [`telegram:${SENDER}`]: row.own }),
        ...(row.all === null ? {} : { 'telegram:*': row.all }),
      },
    },
  };
  return accessOf(accessSchema.parse(written));
}

function eventFor({ who, by, chat }: Case): MessageReceived | CallbackQuery {
  const sender = { id: SENDER, username: 'bob', is_bot: who.endsWith('bot') };
  const place = { chat_id: CHAT, chat_type: chat };
  if (by === 'button') {
    const press = { type: 'callback_query', callback_query_id: '1', message_id: '2', data: 'x' };
    return callbackQuerySchema.parse({ ...press, ...place, sender });
  }
  const file = { path: 'a', size: 1, sha256: '0'.repeat(64) };
  return messageReceivedSchema.parse({
    type: 'message_received',
    message_id: '2',
    edited: by === 'edit',
    chat_id: CHAT,
    sender,
    content: by === 'file' ? { media: [file] } : { text: by === 'command' ? '/stop' : 'hello' },
    routing: { ...place, sender_id: SENDER },
    timestamp: '2026-11-20T10:00:00.000Z',
  });
}

function judge(row: Case): AccessDecision {
  const arrival = arrivalOf('telegram', eventFor(row));
  if (arrival === null) throw new Error('the event comes from nowhere');
  const paired = row.who.startsWith('paired') ? [`telegram:${SENDER}`] : ['discord:123'];
  return evaluateAccess(accessFor(row), arrival, new Set(paired));
}

const sentence = ({ who, by, chat, policy, list, own, all, rest }: Case): string =>
  [who, by, chat, policy, `${list} listed`, `own ${own}`, `all ${all}`, `rest ${rest}`].join(', ');

describe('each written case', () => {
  const rows = cases.table as [...unknown[]][];

  it('is one of many, and none is there twice', () => {
    expect(rows.length).toBeGreaterThanOrEqual(200);
    expect(new Set(rows.map((row) => JSON.stringify(row.slice(0, -1)))).size).toBe(rows.length);
  });

  it('is decided as it is written, and as the sentences of the rule say', () => {
    const decided = rows.map(([who, by, chat, policy, list, own, all, rest]) => {
      const row = { who, by, chat, policy, list, own, all, rest } as Case;
      const { disposition, isOwner } = judge(row);
      return { case: sentence(row), disposition, oracle: oracle(row), isOwner };
    });
    const wanted = rows.map((row, index) => {
      const expected = row.at(-1);
      const isOwner = row[0] === 'owner';
      return { case: decided[index]?.case, disposition: expected, oracle: expected, isOwner };
    });
    expect(decided).toEqual(wanted);
  });
});

it('the rule holds in every combination, whatever the kind of arrival', () => {
  const wrong: string[] = [];
  const combinations = allCases();
  for (const row of combinations) {
    const { disposition } = judge(row);
    if (disposition !== oracle(row)) wrong.push(`${sentence(row)}: ${disposition}`);
  }
  expect(wrong.slice(0, 10)).toEqual([]);
  expect(combinations).toHaveLength(roles.length * (4 + 3 + 3) * 5 * 5 * 5 * 4);
});

function allCases(): Case[] {
  const chats = [
    ...policies.map((policy) => ({ chat: 'dm' as const, policy })),
    ...policies.slice(0, 3).map((policy) => ({ chat: 'group' as const, policy })),
    ...policies.slice(0, 3).map((policy) => ({ chat: 'channel' as const, policy })),
  ];
  const rows = roles.flatMap((who) =>
    chats.flatMap((chat) =>
      lists.flatMap((list) =>
        overrides.flatMap((own) =>
          overrides.flatMap((all) =>
            dispositions.map((rest) => ({ who, ...chat, list, own, all, rest })),
          ),
        ),
      ),
    ),
  );
  return rows.map((row, index) => ({ ...row, by: surfaces[index % surfaces.length] ?? 'message' }));
}

describe('an attack', () => {
  it.each(cases.attacks)('by $what is $expected', ({ access, arrival, paired, expected }) => {
    const decision = evaluateAccess(
      accessOf(accessSchema.parse(access)),
      {
        gateway: 'telegram',
        chatType: 'dm',
        chatId: '123',
        senderId: '123',
        isBot: false,
        ...arrival,
      } as Arrival,
      new Set(paired),
    );
    expect(decision).toEqual({ disposition: expected, isOwner: false });
  });

  it('by an access book or a file that names a pattern or nobody lets nobody in', () => {
    const lax: AgentAccess = {
      ...accessOf(accessSchema.parse({})),
      owners: ['telegram:*', 'telegram:', ''],
    };
    const arrival: Arrival = {
      gateway: 'telegram',
      chatType: 'dm',
      chatId: '5',
      senderId: '5',
      isBot: false,
    };
    for (const senderId of ['5', '*', '']) {
      const decision = evaluateAccess(lax, { ...arrival, senderId }, new Set(['telegram:*', '']));
      expect(decision.isOwner).toBe(false);
      expect(decision.disposition).not.toBe('allow');
    }
  });
});
