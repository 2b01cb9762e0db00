import { describe, expect, test } from 'vitest';
import { defaultAccess } from '../../core/agent-access.ts';
import type { PolicyVerdict } from '../../core/policy/evaluate-policy.ts';
import { ticks } from '../testing.ts';
import { testTool } from '../tools/testing.ts';
import { inGroup, TestHub } from './testing.ts';

const cardOf = (hub: TestHub) => hub.gateway.posts.find(({ text }) => text.includes('🔐'));

const ask: PolicyVerdict = {
  decision: 'ask',
  reason: 'no rule allows it',
  notify: false,
  always: 'bash:git push',
};
const GROUP = '-100';

interface Setup {
  approvers?: readonly ('owner' | 'requester')[];
  /** The call that is asked about. */
  shown?: string;
  /** Where it is asked from. */
  where?: 'dm' | 'group';
  owners?: readonly string[];
  /** When what is sent to the chat is answered. */
  sendsAfter?: Promise<void>;
}

/** A hub whose agent has asked ann, who is no owner, to allow a call; olga is the owner. */
async function asked({
  approvers = ['owner'],
  shown,
  where = 'dm',
  owners = ['fake:olga'],
  sendsAfter,
}: Setup = {}) {
  const ran: string[] = [];
  const tool = testTool(
    {
      name: 'bash',
      run: async () => {
        ran.push('ran');
        return { outcome: 'ok', content: 'pushed' };
      },
    },
    { shown: shown ?? 'git push' },
  );
  const hub = await new TestHub({
    tools: [tool],
    judge: () => Promise.resolve(ask),
    agent: {
      access: {
        ...defaultAccess,
        owners,
        approvers,
        dm: { policy: 'open', allowlist: [] },
        groups: { ...defaultAccess.groups, policy: 'open', activation: 'always' },
      },
    },
  }).start();
  if (sendsAfter) {
    const { gateway } = hub;
    gateway.answer = async (request) => {
      if (request.type === 'send_message') await sendsAfter;
      return { type: 'answered', answer: gateway.perform(request) };
    };
  }
  await hub.tell('push it', { from: 'ann', ...(where === 'group' ? inGroup(GROUP) : {}) });
  hub.runtime.model.calls.at(-1)?.done('', [{ name: 'bash', arguments: {} }]);
  await settled(hub);
  const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
  const actor = await hub.runtime.sessions.open(session);
  const [open] = actor.asked;
  return { hub, ran, actor, approval: open?.id ?? '' };
}

async function settled(hub: TestHub): Promise<void> {
  for (let i = 0; i < 6; i += 1) await ticks();
  await hub.runtime.clock.advance(0);
}

let events = 0;

/** Somebody presses a button, or types the same. */
async function act(
  hub: TestHub,
  how: 'press' | 'type',
  {
    from,
    chat,
    data,
    isBot = false,
  }: { from: string; chat: string; data: string; isBot?: boolean },
): Promise<void> {
  events += 1;
  const isGroup = chat.startsWith('-');
  if (how === 'type') {
    const place = isGroup ? inGroup(chat) : {};
    const sender = { id: from, display_name: from, is_bot: isBot };
    await hub.tell(data, { from, ...place, sender });
  } else {
    await hub.send({
      type: 'callback_query',
      event_id: `press${events}`,
      callback_query_id: `q${events}`,
      chat_id: chat,
      chat_type: isGroup ? 'group' : 'dm',
      sender: { id: from, display_name: from, is_bot: isBot },
      message_id: 'm1',
      data,
    });
  }
  await settled(hub);
}

describe('an approval in a chat', () => {
  test('is shown whole, with its buttons, and its press is answered in its place', async () => {
    const { hub, ran, approval } = await asked({ approvers: ['owner', 'requester'] });
    const card = hub.gateway.posts.find((post) => post.text.includes('git push'));
    expect(card?.keyboard).toEqual([
      `/approve ${approval}`,
      `/approve ${approval} always`,
      `/deny ${approval}`,
    ]);
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${approval}` });
    expect(ran).toEqual(['ran']);
    expect(hub.gateway.pressAnswers.at(-1)).toContain('Allowed once');
    expect(card?.text).toContain('Allowed once');
  });

  test('that is decided elsewhere is edited: no button is left, and it says by whom', async () => {
    const { hub, actor, approval } = await asked({ approvers: ['requester'] });
    await actor.decideApproval(approval, 'deny', 'http:ci');
    await settled(hub);
    expect(cardOf(hub)).toMatchObject({
      text: `🔐 bash: Denied (http:ci). ${actor.session}`,
      keyboard: [],
    });
    expect(hub.gateway.posts.filter((post) => post.text.includes('🔐'))).toHaveLength(1);
    // Whoever pressed before they saw it is told, and the card says the same.
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${approval}` });
    expect(cardOf(hub)?.text).toBe(`🔐 bash: Denied (http:ci). ${actor.session}`);
    expect(actor.outbox.owed).toEqual([]);
  });

  test('stays as it is where the platform cannot edit, and nothing is posted instead', async () => {
    const { hub, actor, approval } = await asked();
    const card = cardOf(hub);
    const before = { ...card };
    hub.gateway.ready(['ack', 'inline_keyboard']);
    await actor.decideApproval(approval, 'deny', 'http:ci');
    await settled(hub);
    expect(card).toEqual(before);
    expect(hub.gateway.posts.filter((post) => post.text.includes('🔐'))).toHaveLength(1);
    expect(actor.outbox).toMatchObject({ owed: [], dead: [] });
  });

  test('that was removed meanwhile is done with', async () => {
    const { hub, actor, approval } = await asked();
    hub.gateway.answer = (request) =>
      request.type === 'edit_message'
        ? {
            type: 'answered',
            answer: {
              type: 'command_error',
              request_id: request.request_id,
              code: 'message_not_found',
              message: '',
              uncertain: false,
            },
          }
        : undefined;
    await actor.decideApproval(approval, 'deny', 'http:ci');
    await settled(hub);
    expect(actor.outbox).toMatchObject({ owed: [], dead: [] });
  });

  test('that is decided while it is sent is edited as soon as its message is known', async () => {
    const sent = Promise.withResolvers<void>();
    const { hub, actor, approval } = await asked({ sendsAfter: sent.promise });
    await actor.decideApproval(approval, 'deny', 'http:ci');
    await settled(hub);
    expect(cardOf(hub)).toBeUndefined();
    sent.resolve();
    await settled(hub);
    expect(cardOf(hub)).toMatchObject({ text: expect.stringContaining('Denied'), keyboard: [] });
  });

  test('that is decided while the gateway is down is edited when it is back', async () => {
    const { hub, actor, approval } = await asked();
    hub.gateway.down();
    await actor.decideApproval(approval, 'deny', 'http:ci');
    await settled(hub);
    expect(actor.outbox.owed).toHaveLength(1);
    hub.gateway.ready(['ack', 'edit', 'inline_keyboard']);
    await settled(hub);
    expect(cardOf(hub)).toMatchObject({ text: expect.stringContaining('Denied'), keyboard: [] });
    expect(actor.outbox.owed).toEqual([]);
  });

  test('that is allowed always adds the rule, once', async () => {
    const { hub, ran, approval } = await asked({ owners: ['fake:ann'] });
    const press = { from: 'ann', chat: 'ann', data: `/approve ${approval} always` };
    await act(hub, 'press', press);
    await act(hub, 'press', press);
    expect(ran).toEqual(['ran']);
    expect(hub.rules).toEqual(['bash:git push']);
  });

  test('is allowed always by owners only', async () => {
    const { hub, ran, approval } = await asked({ approvers: ['requester'] });
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${approval} always` });
    expect([ran, hub.rules]).toEqual([[], []]);
  });

  test('waits through a restart, and the old button still works', async () => {
    const { hub, ran, approval } = await asked({ approvers: ['requester'] });
    await hub.restart();
    await settled(hub);
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${approval}` });
    expect(ran).toEqual(['ran']);
  });

  test('of a call that does not fit there can only be denied there', async () => {
    const { hub, ran, approval } = await asked({
      approvers: ['requester'],
      shown: `echo ${'x'.repeat(3000)}`,
    });
    const card = hub.gateway.posts.find((post) => post.keyboard.length > 0);
    expect(card?.keyboard).toEqual([`/deny ${approval}`]);
    for (const how of ['press', 'type'] as const) {
      await act(hub, how, { from: 'ann', chat: 'ann', data: `/approve ${approval}` });
    }
    expect(ran).toEqual([]);
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/deny ${approval}` });
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ asked: 0 }]);
  });

  test('is decided once, however many press at once', async () => {
    const { hub, ran, actor, approval } = await asked({ approvers: ['owner', 'requester'] });
    const decisions = Array.from({ length: 1000 }, (_, i) =>
      actor.decideApproval(approval, i % 2 === 0 ? 'allow_once' : 'deny', `fake:${i}`),
    );
    const counted = (await Promise.all(decisions)).filter(Boolean);
    await settled(hub);
    expect(counted).toHaveLength(1);
    expect(ran.length).toBeLessThanOrEqual(1);
  });
});

/** Who tries, and whether `access.approvers` lets them, by what it says. */
const roles = [
  { from: 'olga', may: { owner: true, requester: false, both: true } },
  { from: 'ann', may: { owner: false, requester: true, both: true } },
  { from: 'bob', may: { owner: false, requester: false, both: false } },
  { from: 'OLGA', may: { owner: false, requester: false, both: false } },
  { from: 'olga ', may: { owner: false, requester: false, both: false } },
  { from: '*', may: { owner: false, requester: false, both: false } },
] as const;
const approverSets = {
  owner: ['owner'],
  requester: ['requester'],
  both: ['owner', 'requester'],
} as const;
const states = ['open', 'denied', 'expired', 'cancelled', 'session ended', 'unknown id'] as const;
const surfaces = [
  { how: 'press', place: 'own' },
  { how: 'type', place: 'own' },
  { how: 'press', place: 'group' },
  { how: 'type', place: 'group' },
  { how: 'press', place: 'another chat' },
] as const;
const words = ['', ' always', ' deny', ' ALWAYS', ' allow_once'] as const;

async function bring(
  { hub, actor, approval }: Awaited<ReturnType<typeof asked>>,
  state: (typeof states)[number],
): Promise<string> {
  switch (state) {
    case 'open':
      break;
    case 'denied':
      await actor.decideApproval(approval, 'deny', 'http:file');
      break;
    case 'expired':
      await hub.runtime.clock.advance(601_000);
      break;
    case 'cancelled':
      await actor.cancel();
      break;
    case 'session ended':
      await actor.end('operator');
      break;
    case 'unknown id':
      return `appr_${'0'.repeat(26)}`;
  }
  await settled(hub);
  return approval;
}

describe('nobody runs by a chat what they may not allow', () => {
  let cells = 0;
  for (const [set, approvers] of Object.entries(approverSets)) {
    for (const surface of surfaces) {
      for (const state of states) {
        test(`approvers ${set}, ${surface.how} in ${surface.place}, ${state}`, async () => {
          for (const { from, may } of roles) {
            const where = surface.place === 'group' ? 'group' : 'dm';
            const setup = await asked({ approvers, where });
            const { hub, ran } = setup;
            const id = await bring(setup, state);
            const chat =
              surface.place === 'group' ? GROUP : surface.place === 'own' ? from : `other${from}`;
            await act(hub, surface.how, { from, chat, data: `/approve ${id}` });
            cells += 1;
            // The card was posted to ann's chat, or to the group: nowhere else was it shown whole.
            const wasShown =
              surface.place === 'group' || (surface.place === 'own' && from === 'ann');
            const allowed = may[set as keyof typeof may] && wasShown && state === 'open';
            expect([from, ran.length]).toEqual([from, allowed ? 1 : 0]);
          }
        });
      }
    }
  }

  test('in so many ways', () => {
    expect(cells).toBeGreaterThanOrEqual(200);
  });

  test('nor by other words than those of the buttons', async () => {
    for (const word of words) {
      for (const how of ['press', 'type'] as const) {
        const { hub, ran, approval } = await asked({ approvers: ['requester'], where: 'group' });
        await act(hub, how, { from: 'ann', chat: GROUP, data: `/approve ${approval}${word}` });
        expect([word, how, ran.length]).toEqual([word, how, word === '' ? 1 : 0]);
        expect(hub.rules).toEqual([]);
      }
    }
  });

  test('nor as a bot, nor with ids that are almost right', async () => {
    const { hub, ran, approval } = await asked({ approvers: ['requester'] });
    const almost = [
      approval.toUpperCase(),
      `${approval}x`,
      approval.slice(0, -1),
      approval.replace('appr_', 'appr-'),
      `${approval} ${approval}`,
      `session/${approval}`,
    ];
    for (const data of almost) {
      await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${data}` });
    }
    expect(ran).toEqual([]);
  });

  test('nor after they are no approver any more', async () => {
    const { hub, ran, approval } = await asked({ approvers: ['owner', 'requester'] });
    const agent = await hub.runtime.catalog.get('assistant');
    if (!agent) throw new Error('no agent');
    hub.runtime.catalog.set({ ...agent, access: { ...agent.access, approvers: ['owner'] } });
    await act(hub, 'press', { from: 'ann', chat: 'ann', data: `/approve ${approval}` });
    expect(ran).toEqual([]);
  });
});
