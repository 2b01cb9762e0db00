import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Server, Workspace } from '../support/duragent.ts';
import { needs } from '../support/needs.ts';
import { eventsOf, readAllLogs, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { Terminal } from '../support/terminal.ts';
import { until } from '../support/until.ts';

const terminals: Terminal[] = [];
const workspaces: Workspace[] = [];

async function open(workspace: Workspace, args: string[]): Promise<Terminal> {
  const terminal = await Terminal.open(workspace, args);
  terminals.push(terminal);
  return terminal;
}

async function newWorkspace(agents: Record<string, string>): Promise<Workspace> {
  const workspace = await Workspace.create(agents);
  workspaces.push(workspace);
  return workspace;
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}

const isHere = needs('tmux');

afterEach(async () => {
  await Promise.all(terminals.splice(0).map((terminal) => terminal.close()));
});
afterAll(async () => {
  await Promise.all(workspaces.map((workspace) => workspace.close()));
});

describe.skipIf(!isHere)('the first conversation', () => {
  test('needs nothing but `duragent chat`: it is left, found again, and goes on', async () => {
    const workspace = await newWorkspace({});
    const chat = await open(workspace, ['chat']);
    const begun = await chat.shows(/Ctrl-D detaches/);
    expect(begun).toContain(`Made a workspace with a starter agent: ${workspace.dataDir}`);
    expect(begun).toContain('This is echo, which has no model');
    await chat.type('hello from the terminal');
    await chat.shows(/assistant · completed/);
    await chat.press('C-d');
    expect(await chat.exit()).toBe(0);
    const left = await chat.screen();
    expect(count(left, 'echo (no model is configured): hello from the terminal')).toBe(1);
    expect(left).toContain('Come back: duragent attach session_');

    const list = workspace.run(['sessions']);
    expect(await list.exit()).toMatchObject({ code: 0 });
    expect(list.stdout).toMatch(/session_\w{26} +assistant +\w+.*hello from the terminal/);

    const attach = await open(workspace, ['attach']);
    await attach.shows('echo (no model is configured): hello from the terminal');
    await attach.type('and back again');
    await attach.shows(/assistant · completed/);
    const shown = await attach.screen();
    expect(count(shown, '› hello from the terminal')).toBe(1);
    expect(count(shown, 'echo (no model is configured): hello from the terminal')).toBe(1);
    expect(count(shown, 'echo (no model is configured): and back again')).toBe(1);
    await attach.press('C-d');
    expect(await attach.exit()).toBe(0);

    const [log, ...others] = await readAllLogs(workspace.dataDir);
    expect(others).toEqual([]);
    expect(settledFaults(log?.events ?? [])).toEqual([]);
    expect(eventsOf(log?.events ?? [], 'assistant_message')).toHaveLength(2);
  });

  test('sends what was typed right before Ctrl-D', async () => {
    const workspace = await newWorkspace({ slow: 'model: echo/delay-40' });
    const chat = await open(workspace, ['chat']);
    await chat.shows(/Ctrl-D detaches/);
    await chat.press('precious', 'Enter', 'C-d');
    expect(await chat.exit()).toBe(0);
    const [log] = await readAllLogs(workspace.dataDir);
    expect(eventsOf(log?.events ?? [], 'user_message')).toHaveLength(1);
  });

  test('survives a kill -9 of its server: the loss is shown, and the answer completes once', async () => {
    const workspace = await newWorkspace({ slow: 'model: echo/delay-40' });
    const words = Array.from({ length: 40 }, (_, index) => `w${index}`).join(' ');
    const chat = await open(workspace, ['chat']);
    await chat.shows(/Ctrl-D detaches/);
    await chat.type(words);
    await chat.shows(/configured\): w0 w1 w2/);
    const pid = await workspace.backgroundPid();
    expect(pid).not.toBeNull();
    process.kill(pid ?? -1, 'SIGKILL');
    await chat.shows('Connection lost');
    await chat.shows('Connected again');
    await chat.shows(/slow · completed/);
    const [log] = await readAllLogs(workspace.dataDir);
    const events = log?.events ?? [];
    expect(settledFaults(events)).toEqual([]);
    expect(eventsOf(events, 'turn_resumed')).toMatchObject([{ cause: 'crash' }]);
    const whole = `echo (no model is configured): ${words}`;
    expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([whole]);
    // The whole answer is on the screen once; the part that was cut may be above it.
    expect(count((await chat.screen()).replaceAll(/\s+/g, ' '), ' w38 w39')).toBe(2);
    expect(await workspace.backgroundPid()).not.toBe(pid);
    await chat.press('C-d');
    expect(await chat.exit()).toBe(0);
  });
});

describe.skipIf(!isHere)('a terminal', () => {
  let workspace: Workspace;
  let server: Server;
  beforeAll(async () => {
    workspace = await newWorkspace({ echo: 'model: echo', slow: 'model: echo/delay-40' });
    await workspace.configure('default_agent: echo\n');
    server = await workspace.serve();
  });

  async function attached(agent: string): Promise<{ session: string; terminal: Terminal }> {
    const { session } = await server.api.createSession({ agent });
    const terminal = await open(workspace, ['attach', session]);
    await terminal.shows(/Ctrl-D detaches/);
    await until('it is attached', async () => (await server.api.session(session)).clients === 1);
    return { session, terminal };
  }

  async function eventsIn(session: string) {
    const { events } = await readLog(workspace.sessionDir(session));
    expect(settledFaults(events)).toEqual([]);
    return events;
  }

  test('shares a session with another: both see all messages, and the answer as it comes', async () => {
    const { session, terminal: one } = await attached('slow');
    const two = await open(workspace, ['attach', session]);
    await until('both are attached', async () => (await server.api.session(session)).clients === 2);
    await one.type('said in one with some more words to wait for');
    for (const terminal of [one, two]) await terminal.shows(/configured\): said in/);
    await two.shows(/: said in one/);
    for (const terminal of [one, two]) await terminal.shows(/slow · completed/);
    await two.type('said in two');
    await one.shows(/\(terminal\): said in two/);
    for (const terminal of [one, two]) {
      await terminal.shows('configured): said in two');
      const screen = await terminal.screen();
      expect(count(screen, 'configured): said in one')).toBe(1);
    }
    await two.press('C-d');
    expect(await two.exit()).toBe(0);
    await until('one is alone', async () => (await server.api.session(session)).clients === 1);
    await until('rest', async () => (await server.api.session(session)).turn_state === 'idle');
    await eventsIn(session);
  });

  test('cancels with Ctrl-C, keeps what came, and goes on', async () => {
    const { session, terminal } = await attached('slow');
    await terminal.type(`cancel ${'word '.repeat(200)}`);
    await terminal.shows(/configured\): cancel word/);
    await terminal.press('C-c');
    await terminal.shows(/slow · cancelled/);
    await terminal.type('next');
    await terminal.shows('configured): next');
    await terminal.shows(/slow · completed/);
    const outcomes = eventsOf(await eventsIn(session), 'turn_finished');
    expect(outcomes.map((event) => event.outcome)).toEqual(['cancelled', 'completed']);
  });

  test('takes a paste of many lines as one message, and sends it with Enter', async () => {
    const { session, terminal } = await attached('echo');
    const text = 'first line\n  second line\n    third: ünïcödé 漢字 🎉\n\nlast line';
    await terminal.paste(text);
    await terminal.shows('last line');
    expect((await server.api.session(session)).last_seq).toBe(1);
    await terminal.press('Enter');
    await terminal.shows(/echo · completed/);
    expect(eventsOf(await eventsIn(session), 'user_message').map(textOf)).toEqual([text]);
  });

  test('can be resized while an answer streams and while one types', async () => {
    const { session, terminal } = await attached('slow');
    const words = Array.from({ length: 60 }, (_, index) => `word${index}`).join(' ');
    await terminal.type(words);
    await terminal.shows(/configured\): word0/);
    await terminal.resize(40, 20);
    await terminal.press('typed while it streams');
    await terminal.shows(/word20/);
    await terminal.resize(130, 50);
    await terminal.shows(/slow · completed/);
    await terminal.press('Enter');
    await terminal.shows('configured): typed while it streams');
    await until('rest', async () => (await server.api.session(session)).turn_state === 'idle');
    const said = eventsOf(await eventsIn(session), 'user_message').map(textOf);
    expect(said).toEqual([words, 'typed while it streams']);
    const screen = (await terminal.screen()).replaceAll(/\s+/g, ' ');
    expect(screen).toContain('word57 word58 word59');
  });

  test('shows nothing of the control sequences that a model sends', async () => {
    const attacks = [
      '\u001b]0;pwned-title\u0007',
      '\u001b]52;c;cHduZWQ=\u0007',
      '\u001b[2J\u001b[H',
      '\u001b[31;1m',
      '\u009b31m',
      '\u001bP1$tx\u001b\\',
      '\u001b[?1049h',
      '\r\u001b[K',
      '\u0008\u0008\u0008',
      '\u202e',
    ];
    const text = `begin ${attacks.join('then ')} end of it`;
    const script = path.join(workspace.dataDir, 'agents', 'attacker', 'attack.yaml');
    // Once in whole words, and once cut between any two characters.
    const turns = [{ text }, { text, chunk: 1 }];
    await workspace.writeAgent('attacker', `model: { provider: script, name: "${script}" }`);
    await writeFile(script, JSON.stringify({ turns }));
    const { session, terminal } = await attached('attacker');
    await until('the title is known', async () => (await terminal.title()) !== '');
    const title = await terminal.title();
    for (const [turn, question] of ['whole', 'in pieces'].entries()) {
      await terminal.type(question);
      await until('the answer', async () => (await server.api.session(session)).turns === turn + 1);
      await until('it is shown', async () => count(await terminal.screen(), 'end of it') > turn);
    }
    const output = await terminal.output();
    for (const attack of attacks) expect(output).not.toContain(attack);
    expect(output).not.toContain('\u001b]');
    expect(output).not.toContain('\u001bP');
    expect(await terminal.title()).toBe(title);
    expect(await terminal.screen()).toContain('› whole');
    // What was said is in the log as it was.
    expect(eventsOf(await eventsIn(session), 'assistant_message').map(textOf)).toEqual([
      text,
      text,
    ]);
  });

  test('that loses a server which somebody else looks after waits for it, and goes on', async () => {
    const { session, terminal } = await attached('slow');
    await terminal.type(`survive ${'word '.repeat(60)}`);
    await terminal.shows(/configured\): survive word/);
    await server.run.kill('SIGKILL');
    await terminal.shows('Connection lost');
    server = await workspace.serve();
    await terminal.shows('Connected again');
    await terminal.shows(/slow · completed/);
    const events = await eventsIn(session);
    expect(eventsOf(events, 'assistant_message')).toHaveLength(1);
  });
});
