import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ScheduleList, ScheduleView } from '@duragent/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { approvalIn, calling, decide, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readLog } from '../support/session-log.ts';
import { until } from '../support/until.ts';

let workspace: Workspace;
let server: Server;
beforeEach(async () => {
  const tools = toolAgent(['background_process', 'schedule']);
  workspace = await Workspace.create({ helper: tools, other: tools });
  // JSON is YAML.
  const sandbox = { mode: 'trust', workspace: '.' };
  await workspace.configure(JSON.stringify({ sandbox, default_agent: 'helper' }));
  await writeFile(path.join(workspace.dataDir, 'policy.yaml'), 'mode: dangerous\n');
  server = await workspace.serve();
});
afterEach(async () => {
  await workspace.close();
});

/** Calls a tool in a session. @returns what it says. */
async function called(session: string, tool: string, args: object): Promise<string> {
  await server.api.ask(session, calling(tool, args));
  const { events } = await readLog(workspace.sessionDir(session));
  const result = eventsOf(events, 'tool_finished').at(-1);
  if (result?.outcome !== 'ok') throw new Error(`the call failed: ${JSON.stringify(result)}`);
  return result.content;
}

/** Starts a process that ends when a file is made. @returns its id. */
async function spawned(session: string, file: string): Promise<string> {
  const command = `while [ ! -e ${file} ]; do sleep 0.05; done`;
  const said = await called(session, 'background_process', { action: 'spawn', command });
  const [id] = /proc_[0-9a-z]{26}/.exec(said) ?? [];
  if (id === undefined) throw new Error(`no process: ${said}`);
  return id;
}

const bodyOf = (process: string, more: object = {}) => ({
  spec: { every: '1h' },
  payload: { kind: 'task', text: 'How does the build do?' },
  process,
  ...more,
});

async function schedules(): Promise<string[]> {
  const { body } = await server.api.get<ScheduleList>('/schedules');
  return body.schedules.map(({ id }) => id);
}

test('a schedule ends with the process that it is linked to, and only with that', async () => {
  const { session } = await server.api.createSession();
  const short = await spawned(session, 'stop');
  const long = await spawned(session, 'never');
  const made: string[] = [];
  for (const process of [short, long]) {
    const reply = await server.api.post<ScheduleView>('/schedules', bodyOf(process));
    expect(reply).toMatchObject({ status: 201, body: { process } });
    made.push(reply.body.id);
  }
  const every = { action: 'create', every: '1h', task: 'Look.', process: short };
  // It has seen what a program printed: people are asked.
  const asked = called(session, 'schedule', every);
  const approval = await approvalIn(server.api, session);
  expect(approval.shown).toContain(`It ends with the process ${short}.`);
  await decide(server.api, approval, 'allow_once');
  expect(await asked).toContain('Made the schedule');
  expect(await schedules()).toHaveLength(3);
  await writeFile(path.join(workspace.dir, 'stop'), '');
  await until('both have gone', async () => (await schedules()).length === 1);
  expect(await schedules()).toEqual([made[1]]);

  // A server that is killed leaves it lost.
  await server.run.kill('SIGKILL');
  server = await workspace.serve();
  await until('the other has gone', async () => (await schedules()).length === 0);
});

test('a process that is not there, is of others or has ended is refused by its place', async () => {
  const { session } = await server.api.createSession();
  const { session: second } = await server.api.createSession();
  const process = await spawned(session, 'stop');
  const pointers = async (body: object) => {
    const problem = await server.api.refused('POST', '/api/v1/schedules', { body });
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request' });
    return (problem['errors'] as { pointer: string }[]).map(({ pointer }) => pointer);
  };
  expect(await pointers(bodyOf('make'))).toEqual(['/process']);
  expect(await pointers(bodyOf(`proc_${'0'.repeat(26)}`))).toEqual(['/process']);
  expect(await pointers(bodyOf(process, { agent: 'other' }))).toEqual(['/process']);
  expect(await pointers(bodyOf(process, { target: { session: second } }))).toEqual(['/process']);
  await writeFile(path.join(workspace.dir, 'stop'), '');
  await until('it has ended', async () => {
    const listed = await called(session, 'background_process', { action: 'status', id: process });
    return listed.includes(' ended after ');
  });
  expect(await pointers(bodyOf(process, { target: { session } }))).toEqual(['/process']);
  expect(await schedules()).toEqual([]);
});
