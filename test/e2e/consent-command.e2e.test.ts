import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ApprovalView, QuestionView } from '@duragent/protocol';
import {
  answer,
  approvalIn,
  asking,
  bash,
  decide,
  idle,
  questionIn,
  toolAgent,
} from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readLog } from '../support/session-log.ts';

/** Decisions that race, two for each approval. */
const RACES = 50;

let workspace: Workspace;
let server: Server;
beforeAll(async () => {
  workspace = await Workspace.create({ helper: toolAgent(['bash', 'ask_user']) });
  server = await workspace.serve();
});
afterAll(async () => {
  await workspace.close();
});

async function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const one = workspace.run(args);
  const { code } = await one.exit();
  return { code, out: one.stdout, err: one.stderr };
}

async function waiting(command: string): Promise<ApprovalView> {
  const { session } = await server.api.createSession();
  await server.api.say(session, bash(command));
  return await approvalIn(server.api, session);
}

function there(name: string): boolean {
  return existsSync(path.join(workspace.dir, name));
}

test('approvals are listed whole, allowed and denied from the command line', async () => {
  const once = await waiting('touch "once\u202e\u001b[31m" && touch once');
  const always = await waiting('touch always');
  const never = await waiting('touch never');
  const [listed, json] = await Promise.all([run('approvals'), run('approvals', '-o', 'json')]);
  expect(listed).toMatchObject({ code: 0, err: '' });
  const blocks = listed.out.split(/\n(?=appr_)/);
  expect(blocks.map((block) => block.split(' ')[0])).toEqual(
    [once, always, never].map(({ approval }) => approval),
  );
  expect(blocks[0]).toMatch(
    /^appr_\w{26} {2}helper {2}session_\w{26} {2}.* {2}until 2\d{3}-\S+Z\n {4}bash:\n {4}│ touch "once⟨U\+202E⟩⟨U\+001B⟩\[31m" && touch once\n {4}in \//,
  );
  expect(blocks[0]).not.toContain('--always');
  expect(blocks[1]).toContain('--always adds the rule bash:touch always');
  expect(listed.out).not.toMatch(/[\u001b\u202e]/);

  expect(JSON.parse(json.out)).toEqual([once, always, never]);
  // Nothing in it acts on a terminal either.
  expect(json.out).not.toMatch(/[\u001b\u009b\u202e]/);

  const refused = await run('approvals', 'allow', once.approval, '--always');
  expect(refused.code).not.toBe(0);
  expect(refused.err).toContain('This can be allowed once only');
  expect(there('once')).toBe(false);
  expect(await run('approvals', 'allow', once.approval)).toEqual({
    code: 0,
    out: '',
    err: `Allowed: ${once.approval}\n`,
  });
  const others = await Promise.all([
    run('approvals', 'allow', '--always', always.approval),
    run('approvals', 'deny', never.approval),
  ]);
  expect(others.map(({ code }) => code)).toEqual([0, 0]);
  for (const { session } of [once, always, never]) await idle(server.api, session);
  expect(['once', 'always', 'never'].map(there)).toEqual([true, true, false]);

  const [again, odd, empty] = await Promise.all([
    run('approvals', 'deny', once.approval),
    run('approvals', 'allow', 'appr_\u001b[31m'),
    run('approvals'),
  ]);
  expect(again.code).not.toBe(0);
  expect(again.err).toContain(`No approval ${once.approval} waits`);
  expect(odd.err).not.toContain('\u001b');
  expect(empty).toEqual({ code: 0, out: '', err: 'No approval waits.\n' });
});

test('questions are listed and answered from the command line', async () => {
  const { session } = await server.api.createSession();
  await server.api.say(session, asking('Which\u202e?\nReally?', { choices: ['red', 'blue'] }));
  const question = await questionIn(server.api, session);
  const [listed, json, odd] = await Promise.all([
    run('questions'),
    run('questions', '-o', 'json'),
    run('questions', 'answer', question.question, 'green'),
  ]);
  expect(listed.out).toMatch(
    /^q_\w{26} {2}helper {2}session_\w{26} {2}.*\n {4}Which⟨U\+202E⟩\?\n {4}Really\?\n {4}1\. red\n {4}2\. blue\n$/,
  );
  expect(JSON.parse(json.out) as QuestionView[]).toEqual([question]);
  expect(odd.code).not.toBe(0);
  expect(odd.err).toContain('The answer is one of: 1. red, 2. blue.');
  expect((await run('questions', 'answer', question.question, '2')).code).toBe(0);
  await idle(server.api, session);
  const late = await run('questions', 'answer', question.question, 'red');
  expect(late.code).not.toBe(0);
  expect(late.err).toContain(`No question ${question.question} waits`);
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'question_answered')).toMatchObject([{ answer: 'blue' }]);
});

test('of two decisions at once one counts, and the other hears so', async () => {
  const { session } = await server.api.createSession();
  let before = '';
  for (let race = 0; race < RACES; race += 1) {
    await server.api.say(session, race % 2 === 0 ? bash('true; true') : asking('Who?'));
    const replies = [];
    if (race % 2 === 0) {
      const open = await approvalIn(server.api, session, before);
      before = open.approval;
      replies.push(decide(server.api, open, 'deny'), decide(server.api, open, 'deny'));
    } else {
      const open = await questionIn(server.api, session);
      replies.push(answer(server.api, open, 'one'), answer(server.api, open, 'two'));
    }
    const statuses = (await Promise.all(replies)).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 409]);
    await idle(server.api, session);
  }
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'approval_decided')).toHaveLength(RACES / 2);
  expect(eventsOf(events, 'question_answered')).toHaveLength(RACES / 2);
  expect(eventsOf(events, 'tool_finished')).toHaveLength(RACES);
});
