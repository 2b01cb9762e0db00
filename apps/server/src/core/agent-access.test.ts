import { expect, it } from 'vitest';
import { accessOf, accessSchema, defaultAccess } from './agent-access.ts';

function issuesOf(written: unknown): string[] {
  const result = accessSchema.safeParse(written);
  return (result.error?.issues ?? []).map(({ path, message, ...issue }) => {
    const inner = 'issues' in issue ? issue.issues[0]?.message : undefined;
    return `${path.join('.')}: ${inner ?? message}`;
  });
}

it('says nothing: strangers pair in direct chats, and no group is allowed', () => {
  expect(defaultAccess).toEqual({
    owners: [],
    approvers: ['owner'],
    dm: { policy: 'pairing', allowlist: [] },
    groups: {
      policy: 'allowlist',
      allowlist: [],
      senderDefault: 'allow',
      senderOverrides: {},
      activation: 'mention',
      contextBuffer: { form: 'block', maxMessages: 100, maxAgeMs: 86_400_000 },
    },
    queue: {
      mode: null,
      maxPending: 10,
      overflow: 'drop_old',
      rejectMessage: '',
      debounce: { enabled: true, windowMs: 1500 },
    },
  });
});

it('says all', () => {
  const written = {
    owners: ['telegram:123'],
    approvers: ['owner', 'requester'],
    dm: { policy: 'allowlist', allowlist: ['telegram:5', 'matrix:@bob:example.org'] },
    groups: {
      policy: 'open',
      allowlist: ['telegram:-100123', 'discord:*'],
      sender_default: 'passive',
      sender_overrides: { 'telegram:99999': 'block', 'slack:*': 'silent' },
      activation: 'always',
      context_buffer: { form: 'off', max_messages: 5, max_age_hours: 0.5 },
    },
    queue: {
      mode: 'interrupt',
      max_pending: 3,
      overflow: 'reject',
      reject_message: 'later',
      debounce: { enabled: false, window_ms: 200 },
    },
  };
  expect(accessOf(accessSchema.parse(written))).toEqual({
    owners: ['telegram:123'],
    approvers: ['owner', 'requester'],
    dm: { policy: 'allowlist', allowlist: ['telegram:5', 'matrix:@bob:example.org'] },
    groups: {
      policy: 'open',
      allowlist: ['telegram:-100123', 'discord:*'],
      senderDefault: 'passive',
      senderOverrides: { 'telegram:99999': 'block', 'slack:*': 'silent' },
      activation: 'always',
      contextBuffer: { form: 'off', maxMessages: 5, maxAgeMs: 1_800_000 },
    },
    queue: {
      mode: 'interrupt',
      maxPending: 3,
      overflow: 'reject',
      rejectMessage: 'later',
      debounce: { enabled: false, windowMs: 200 },
    },
  });
});

it.each(['steer', 'batch', 'sequential', 'interrupt', 'drop'])('the queue may %s', (mode) => {
  expect(accessSchema.parse({ queue: { mode } }).queue.mode).toBe(mode);
});

const NO_ID = 'expected <gateway>:<platform id>, in quotes';
const PATTERN = 'the only pattern is <gateway>:*; write whole ids';
const SPACE = 'there is a space too many; remove it';
it.each([
  ['bob', NO_ID],
  ['', NO_ID],
  ['*', NO_ID],
  [':123', NO_ID],
  ['telegram:', NO_ID],
  ['Telegram:123', NO_ID],
  ['*:123', NO_ID],
  ['*:*', NO_ID],
  ['telegram:12*', PATTERN],
  ['telegram:**', PATTERN],
  ['telegram:*:*', PATTERN],
  ['telegram: 123', SPACE],
  ['telegram:123 ', SPACE],
  ['telegram:\n123', NO_ID],
])('%j names nobody', (id, message) => {
  expect(issuesOf({ dm: { allowlist: [id] } })).toEqual([`dm.allowlist.0: ${message}`]);
  expect(issuesOf({ groups: { allowlist: [id] } })).toEqual([`groups.allowlist.0: ${message}`]);
  expect(issuesOf({ owners: [id] })[0]).toBe(`owners.0: ${message}`);
  const overrides = { sender_overrides: { [id]: 'block' } };
  expect(issuesOf({ groups: overrides })).toEqual([`groups.sender_overrides.${id}: ${message}`]);
});

it('not all of a gateway are owners', () => {
  const message = 'an owner is one person; write the whole id';
  expect(issuesOf({ owners: ['telegram:*'] })).toEqual([`owners.0: ${message}`]);
});
