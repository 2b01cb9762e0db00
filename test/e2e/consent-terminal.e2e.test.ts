import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { approvalIn, asking, bash, decide, idle, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { needs } from '../support/needs.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { Terminal } from '../support/terminal.ts';
import { until } from '../support/until.ts';

const isHere = needs('tmux');
const terminals: Terminal[] = [];
let workspace: Workspace;
let server: Server;

beforeAll(async () => {
  if (!isHere) return;
  workspace = await Workspace.create({ helper: toolAgent(['bash', 'ask_user']) });
  server = await workspace.serve();
});
afterEach(async () => {
  await Promise.all(terminals.splice(0).map((terminal) => terminal.close()));
});
afterAll(async () => {
  await workspace?.close();
});

async function attached(session: string, args: string[] = []): Promise<Terminal> {
  const terminal = await Terminal.open(workspace, ['attach', session, ...args]);
  terminals.push(terminal);
  await terminal.shows(/Ctrl-D detaches|read-only/);
  return terminal;
}

async function begun(): Promise<{ session: string; terminal: Terminal }> {
  const { session } = await server.api.createSession();
  return { session, terminal: await attached(session) };
}

async function eventsIn(session: string) {
  await idle(server.api, session);
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  return events;
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}

/** How often a command of a test has run: each of them adds a line to a file of its own. */
function runs(name: string): number {
  const file = path.join(workspace.dir, name);
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
}

describe.skipIf(!isHere)('in a terminal', () => {
  test('an approval is shown whole: y runs it, n denies it, a allows it from then on', async () => {
    const { session, terminal } = await begun();
    await terminal.type(bash('echo one >> yes'));
    await terminal.shows('🔐 bash asks for consent:\n');
    const shown = await terminal.shows(/y and Enter allows it once.*n denies it\./);
    expect(shown).toContain(`echo one >> yes`);
    expect(shown).toContain(`in ${workspace.dir}`);
    expect(shown).toContain('waiting for you');
    expect(runs('yes')).toBe(0);
    await terminal.type('y');
    await terminal.shows(/helper · completed/);
    expect(await terminal.screen()).toContain('✓ Allowed once (http:file)');
    expect(runs('yes')).toBe(1);

    await terminal.type(bash('echo two >> no'));
    await terminal.shows('echo two >> no');
    await approvalIn(server.api, session);
    await until('it waits', async () => count(await terminal.screen(), 'n denies it.') === 2);
    await terminal.type('n');
    await terminal.shows('✗ Denied');
    await idle(server.api, session);
    expect(runs('no')).toBe(0);

    for (const nth of [1, 2]) {
      await terminal.type(bash('touch always'));
      if (nth === 1) {
        const asked = await terminal.shows(/y and Enter allows it once, a allows it always/);
        expect(asked).toContain('touch always');
        await terminal.type('a');
        await terminal.shows('✓ Allowed, always');
      }
      await until(`it ran ${nth} times`, async () => {
        const { turns, turn_state } = await server.api.session(session);
        return turns === 2 + nth && turn_state === 'idle';
      });
    }
    const local = path.join(workspace.dataDir, 'agents', 'helper', 'policy.local.yaml');
    expect(readFileSync(local, 'utf8')).toContain('bash:touch always');
    const events = await eventsIn(session);
    expect(eventsOf(events, 'approval_decided').map(({ decision }) => decision)).toEqual([
      'allow_once',
      'deny',
      'allow_always',
    ]);
    expect(eventsOf(events, 'tool_finished').map(({ outcome }) => outcome)).toEqual([
      'ok',
      'denied',
      'ok',
      'ok',
    ]);
  });

  test('what cannot be seen in a command is written out', async () => {
    const { session, terminal } = await begun();
    const hidden =
      'echo \u202etxt.exe\u200b \u001b[2J\u001b]0;pwned\u0007 \u009b31m \u00ad\rrm -rf x';
    await server.api.say(session, bash(hidden));
    const shown = await terminal.shows(/n denies it\./);
    // Where the lines are wrapped is no matter.
    expect(shown.replaceAll(/\s/g, '')).toContain(
      'echo⟨U+202E⟩txt.exe⟨U+200B⟩⟨U+001B⟩[2J⟨U+001B⟩]0;pwned⟨U+0007⟩⟨U+009B⟩31m⟨U+00AD⟩⟨U+000D⟩rm-rfx',
    );
    const output = await terminal.output();
    for (const raw of ['\u202e', '\u001b]0', '\u009b']) {
      expect(output).not.toContain(raw);
    }
    await terminal.type('/deny');
    await terminal.shows('✗ Denied');
    expect(eventsOf(await eventsIn(session), 'tool_finished')).toMatchObject([
      { outcome: 'denied' },
    ]);
  });

  test('a question is answered by the number of a choice, or by a line', async () => {
    const { session, terminal } = await begun();
    await terminal.type(asking('Which colour?', { choices: ['red', 'dark blue', '1'] }));
    await terminal.shows(/❓ Which colour\?\n.*1\. red\n.*2\. dark blue\n.*3\. 1\n/);
    await terminal.type('2');
    await terminal.shows('Answered: dark blue');
    await terminal.shows(/helper · completed/);
    await terminal.type(asking('And your name?'));
    await terminal.shows('Write the answer.');
    await terminal.type('y');
    await terminal.shows('Answered: y');
    await terminal.type(asking('A path?'));
    await until('it asks', async () => count(await terminal.screen(), 'Write the answer.') === 2);
    await terminal.type('/answer /etc/hosts');
    await terminal.shows('Answered: /etc/hosts');
    const events = await eventsIn(session);
    expect(eventsOf(events, 'question_answered').map((one) => one.answer)).toEqual([
      'dark blue',
      'y',
      '/etc/hosts',
    ]);
    // An answer is told to the model once: as the result of its call.
    expect(eventsOf(events, 'assistant_message').map(textOf).filter(Boolean)).toEqual(
      ['dark blue', 'y', '/etc/hosts'].map((said) => `echo (no model is configured): ${said}`),
    );
  });

  test('two terminals see the same request; the first decision counts, and the second hears so', async () => {
    const { session, terminal: one } = await begun();
    const two = await attached(session);
    const reader = await attached(session, ['--read-only']);
    await one.type(bash('echo once >> both'));
    for (const terminal of [one, two, reader]) await terminal.shows('n denies it.');
    await reader.type('y');
    await reader.shows('This is read-only');
    expect(runs('both')).toBe(0);
    const open = await approvalIn(server.api, session);
    await Promise.all([one.type('y'), two.type('n')]);
    await idle(server.api, session);
    const decided = eventsOf(await eventsIn(session), 'approval_decided');
    expect(decided).toHaveLength(1);
    expect(runs('both')).toBe(decided[0]?.decision === 'allow_once' ? 1 : 0);
    const word = decided[0]?.decision === 'allow_once' ? '✓ Allowed once' : '✗ Denied';
    for (const terminal of [one, two, reader]) {
      expect(count(await terminal.shows(word), word)).toBe(1);
    }
    expect((await decide(server.api, open, 'allow_once')).status).toBe(409);
  });

  test('who comes later sees what waits, in whatever size, and can still decide', async () => {
    const { session } = await server.api.createSession();
    const words = Array.from({ length: 60 }, (_, i) => `word${i}`).join(' ');
    await server.api.say(session, bash(`echo ${words} >> late`));
    const open = await approvalIn(server.api, session);
    const terminal = await attached(session);
    await terminal.shows('n denies it.');
    await terminal.resize(37, 12);
    await terminal.resize(120, 30);
    await terminal.press('/');
    await terminal.press('BSpace');
    await terminal.shows('waiting for you');
    const screen = (await terminal.screen()).replaceAll(/\s+/g, ' ');
    expect(screen).toContain(`echo ${words} >> late`);
    await terminal.press('C-d');
    expect(await terminal.exit()).toBe(0);
    await server.run.kill('SIGKILL');
    server = await workspace.serve();
    const again = await attached(session);
    await again.shows('n denies it.');
    await again.type(`/approve ${open.approval}`);
    await again.shows('✓ Allowed once');
    await idle(server.api, session);
    expect(runs('late')).toBe(1);
    // Nothing waits any more: it is a message again.
    await again.type('y');
    await again.shows('configured): y');
    expect(runs('late')).toBe(1);
  });
});
