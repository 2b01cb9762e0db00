import { describe, expect, test } from 'vitest';
import { testAgent } from '../testing.ts';
import { type NotifyToolDeps, notifyUserTool } from './notify-user.ts';

const own = { gateway: 'telegram', account: 'telegram', chat_id: '7' };
const group = { ...own, chat_id: '-100', thread_id: '5' };
const caller = { session: 'session_1', turn: 'turn_1', call: 'call_1', agent: testAgent() };

function setUp(chats: readonly (typeof own)[] = [own]) {
  const told: unknown[] = [];
  const deps: NotifyToolDeps = {
    chatsOf: () => chats,
    gateways: () => ['telegram', 'slack'],
    webhooks: () => ['ops', 'crm'],
    open: async (session) => ({
      tell: async (what) => {
        told.push({ session, ...what });
      },
    }),
  };
  const tool = notifyUserTool(deps);
  const run = (args: Record<string, unknown>, signal = new AbortController().signal) =>
    tool.run(args, { signal, onOutput: () => undefined, caller });
  return { tool, told, run, plan: (args: Record<string, unknown>) => tool.plan(args, caller) };
}

describe('notify_user', () => {
  test('tells the chats of its session under the name of its call', async () => {
    const { run, told } = setUp();
    expect(await run({ text: ' It is built. ' })).toEqual({
      outcome: 'ok',
      content: 'Sent to telegram:7.',
    });
    const { session, turn, call } = caller;
    expect(told).toEqual([{ session, turn, call, text: 'It is built.', chats: null }]);
  });

  test('says when no chat shows the session', async () => {
    const { run } = setUp([]);
    expect(await run({ text: 'hi' })).toMatchObject({
      content: expect.stringContaining('No chat shows this session'),
    });
  });

  test('of other chats asks a person whatever the policy allows, of its own it does not', async () => {
    const { plan, run, told } = setUp();
    const both = { text: 'hi', chats: ['telegram:-100:5', 'telegram:7', 'telegram:7'] };
    expect(plan(both)).toMatchObject({
      mustAsk: expect.stringContaining('it writes to telegram:-100:5,'),
      shown: 'Tell telegram:-100:5, telegram:7:\nhi',
      speaksUnasked: true,
    });
    expect(plan({ text: 'hi', chats: ['telegram:7'] })).not.toHaveProperty('mustAsk');
    expect(plan({ text: 'hi' })).toMatchObject({ shown: 'Tell the chats of this session:\nhi' });
    expect(plan({ text: 'hi' })).not.toHaveProperty('mustAsk');
    await run(both);
    expect(told).toMatchObject([{ chats: [group, own] }]);
  });

  test('of a webhook asks a person, as of any other chat', async () => {
    const { plan, run, told } = setUp();
    const args = { text: 'hi', chats: ['webhook:ops'] };
    expect(plan(args)).toMatchObject({
      mustAsk: expect.stringContaining('it writes to webhook:ops,'),
      shown: 'Tell webhook:ops:\nhi',
    });
    expect(await run(args)).toEqual({ outcome: 'ok', content: 'Sent to webhook:ops.' });
    const ops = { gateway: 'webhook', account: 'webhook', chat_id: 'ops' };
    expect(told).toMatchObject([{ chats: [ops] }]);
  });

  test('refuses what is no chat, and more than it may tell', () => {
    const { plan } = setUp();
    for (const [args, fault] of [
      [{ text: 'hi', chats: ['7'] }, /7 is no chat/],
      [{ text: 'hi', chats: ['telegram:'] }, /is no chat/],
      [{ text: 'hi', chats: ['telegram:1:2:3'] }, /is no chat/],
      [{ text: 'hi', chats: ['mail:7'] }, /no gateway named mail\. There are: telegram, slack/],
      [{ text: 'hi', chats: ['webhook:x'] }, /no webhook named x\. There are: ops, crm/],
      [{ text: 'hi', chats: ['webhook:ops:1'] }, /no webhook named ops:1\. There are: ops, crm/],
      [{ text: 'hi', chats: ['webhook'] }, /webhook is no chat/],
      [{ text: 'hi', chats: [] }, /chats/],
      [{ text: 'hi', chats: ['a:1', 'a:2', 'a:3', 'a:4', 'a:5'] }, /chats/],
      [{ text: ' ' }, /text/],
      [{ text: 'x'.repeat(4001) }, /text/],
    ] as const) {
      expect(plan(args)).toMatchObject({ fault: expect.stringMatching(fault) });
    }
  });

  test('tells nobody once it is cancelled', async () => {
    const { run, told } = setUp();
    expect(await run({ text: 'hi' }, AbortSignal.abort())).toMatchObject({ outcome: 'cancelled' });
    expect(told).toEqual([]);
  });
});
