import { readdirSync, readFileSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bash, idle, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { needs } from '../support/needs.ts';
import { eventsOf, readLog, settledFaults } from '../support/session-log.ts';
import { until } from '../support/until.ts';

const hasBwrap = needs('bwrap');
let workspace: Workspace;
let server: Server;
beforeAll(async () => {
  workspace = await Workspace.create({ helper: toolAgent(['bash']) });
  await writeFile(path.join(workspace.dataDir, 'policy.yaml'), 'mode: dangerous\n');
  server = await workspace.serve();
});
afterAll(async () => {
  await workspace.close();
});

/** Runs a command to its end. @returns its result, and its session. */
async function ran(command: string, more: object = {}) {
  const { session } = await server.api.createSession();
  await server.api.ask(session, bash(command, more));
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  const [result] = eventsOf(events, 'tool_finished');
  if (!result) throw new Error('nothing was run');
  return { session, ...result };
}

function outputFile(session: string, call: string): string {
  return path.join(workspace.sessionDir(session), 'output', `${call}.log`);
}

/** How many processes have this word in their command line. */
function processesOf(word: string): number {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(word);
      } catch {
        return false; // It has just ended.
      }
    }).length;
}

describe('bash', () => {
  test('shows its output as it comes, and tells it with the exit code', async () => {
    const { session } = await server.api.createSession();
    const stream = await server.api.events(session);
    // It goes on when its first word was seen.
    await server.api.say(
      session,
      bash('echo fir\u00e9; while [ ! -e seen ]; do sleep 0.05; done; echo second >&2; exit 3'),
    );
    await stream.until('the first word', () => stream.of('tool_output').length > 0);
    expect(stream.of('tool_finished')).toEqual([]);
    expect(await server.api.session(session)).toMatchObject({ turn_state: 'working' });
    await writeFile(path.join(workspace.dir, 'seen'), '');
    await stream.untilFinished();
    let text = '';
    for (const delta of stream.of('tool_output')) {
      expect(delta['offset']).toBe(text.length);
      text += String(delta['text']);
    }
    expect(text).toBe('firé\nsecond\n');
    expect(stream.of('tool_finished')).toMatchObject([
      {
        outcome: 'error',
        content: 'Exit code 3.\nOutput:\nfiré\nsecond\n',
        details: { exit_code: 3, output_bytes: 13, omitted_bytes: 0 },
      },
    ]);
    stream.close();
  });

  test('of a long output the model is told both ends, and the whole is kept', async () => {
    const lines = 200_000;
    const { session, call, content, outcome, details } = await ran(`seq 1 ${lines}`);
    expect(outcome).toBe('ok');
    expect(content).toMatch(/^Exit code 0\.\nOutput, 1288895 bytes:\n1\n2\n3\n/);
    expect(content).toContain('the whole output is kept with the session');
    expect(content).toMatch(/\n199999\n200000\n$/);
    expect(Buffer.byteLength(content)).toBeLessThan(33_000);
    const kept = await readFile(outputFile(session, call), 'utf8');
    expect(Buffer.byteLength(kept)).toBe(1_288_895);
    expect(kept.endsWith('\n199999\n200000\n')).toBe(true);
    expect(details['output_bytes']).toBe(1_288_895);
    expect((await stat(outputFile(session, call))).mode & 0o077).toBe(0);
  });

  test('what is no text does no harm', async () => {
    const { content, outcome } = await ran(
      "printf '\\000\\377\\033[2J\\r\\n'; head -c 100000 /dev/urandom",
    );
    expect(outcome).toBe('ok');
    expect(content).toContain('Exit code 0');
    expect(content.isWellFormed()).toBe(true);
  });

  test('has no input, and a time that ends it', async () => {
    expect(await ran('cat; read line; echo "read: $?"')).toMatchObject({
      outcome: 'ok',
      content: 'Exit code 0.\nOutput:\nread: 1\n',
    });
    const late = await ran('echo begun; sleep 99.17', { timeout: 1 });
    expect(late).toMatchObject({ outcome: 'timed_out' });
    expect(late.content).toMatch(/after 1 s, its timeout\.\nOutput:\nbegun\n/);
    await until('nothing of it is left', () => processesOf('99.17') === 0);
    expect(await ran('kill -9 $$')).toMatchObject({ outcome: 'error' });
    expect(await ran('no-such-program-here')).toMatchObject({ outcome: 'error' });
  });

  test.skipIf(!hasBwrap)(
    'ends with all that it started when it is cancelled, also what hides from it',
    async () => {
      const { session } = await server.api.createSession();
      await server.api.say(
        session,
        bash(
          'setsid -f sleep 99.23; (trap "" TERM INT HUP; sleep 99.23; sleep 99.23) & sleep 99.23',
        ),
      );
      await until('all of it runs', () => processesOf('99.23') >= 3);
      const since = performance.now();
      await server.api.post(`/sessions/${session}/cancel`);
      await until('nothing of it is left', () => processesOf('99.23') === 0);
      // Within a second, and what the machine is slow by.
      expect(performance.now() - since).toBeLessThan(5_000);
      await idle(server.api, session);
      const { events } = await readLog(workspace.sessionDir(session));
      expect(eventsOf(events, 'tool_finished')).toMatchObject([{ outcome: 'cancelled' }]);
      expect(eventsOf(events, 'turn_finished')).toMatchObject([{ outcome: 'cancelled' }]);
    },
  );

  test.skipIf(!hasBwrap)(
    'cannot read what is secret, nor write outside of the workspace',
    async () => {
      const token = await workspace.token();
      const { content } = await ran(
        `cat ${workspace.dataDir}/auth/token; cat ${workspace.dataDir}/run/server.json; env; echo x > /etc/x; echo x > ${workspace.dataDir}/policy.local.yaml; echo x > ${workspace.dataDir}/agents/helper/policy.local.yaml; echo ok > inside; cat inside`,
      );
      expect(content).not.toContain(token);
      expect(content).toMatch(/ok\n$/);
      expect(readdirSync(path.join(workspace.dataDir, 'agents', 'helper'))).toEqual(['agent.yaml']);
    },
  );

  test.skipIf(!hasBwrap)('dies with its server, and what it said by then is told', async () => {
    const { session } = await server.api.createSession();
    await server.api.say(session, bash('echo said so far; sleep 99.31'));
    const stream = await server.api.events(session);
    await stream.until('its output', () => stream.of('tool_output').length > 0);
    const call = String(stream.of('tool_started')[0]?.['call']);
    await until('it is kept', async () => {
      return (await readFile(outputFile(session, call), 'utf8')) === 'said so far\n';
    });
    await server.run.kill('SIGKILL');
    await until('nothing of it is left', () => processesOf('99.31') === 0);
    server = await workspace.serve();
    // Who attaches is not kept waiting, as others are after a start.
    const again = await server.api.events(session);
    await idle(server.api, session);
    again.close();
    const { events } = await readLog(workspace.sessionDir(session));
    const [result] = eventsOf(events, 'tool_finished');
    expect(result).toMatchObject({ outcome: 'unknown' });
    expect(result?.content).toMatch(
      /Check before you do it again\.\nIts output so far:\nsaid so far/,
    );
    expect(eventsOf(events, 'tool_started')).toHaveLength(1);
  });
});
