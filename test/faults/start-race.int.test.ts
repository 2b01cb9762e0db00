import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { processesWith, uniqueSleep } from '../../apps/server/src/ports/sandbox.contract.ts';
import { commandOf } from '../chaos/processes.ts';
import { tidyModes } from '../chaos/tools-campaign.ts';
import { killAll } from '../chaos/tools-processes.ts';
import { freezeBelow, thaw } from '../support/freeze-below.ts';
import { until } from '../support/until.ts';

const script = fileURLToPath(new URL('start-race-server.ts', import.meta.url));
const modes = process.platform === 'linux' ? tidyModes() : [];

/** How often each moment of a start is tried. */
const TRIES = 2;
/** How often in a row what was started has to be gone: what becomes another program looks so for a moment. */
const LOOKS = 50;
/** How long it may outlive its server, in ms. */
const OUTLIVE_MS = 3_000;

const cases = modes.flatMap((mode) => [
  { what: 'tool-server', mode, depth: 1 },
  { what: 'tool-server', mode, depth: 2 },
  { what: 'process', mode, depth: 1 },
  { what: 'process', mode, depth: 2 },
]);
// A group is ended by the guard of its server; of a process of its own nothing is promised there.
if (process.platform === 'linux') cases.push({ what: 'tool-server', mode: 'groups', depth: 1 });

// Who is to end a program with the server is told so on the way, and hears of no death before that.
describe.skipIf(cases.length === 0)('a long-lived program', () => {
  let folder: string;
  let marker: string;
  beforeEach(async () => {
    // A sandbox hides what lies in /tmp.
    const parent = path.join(import.meta.dirname, '../../node_modules/.cache');
    await mkdir(parent, { recursive: true });
    folder = await realpath(await mkdtemp(path.join(parent, 'start-race-')));
    await mkdir(path.join(folder, 'workspace'));
    await mkdir(path.join(folder, 'data'));
    marker = uniqueSleep();
  });
  afterEach(async () => {
    killAll(processesWith(marker));
    await rm(folder, { recursive: true });
  });

  async function serve(what: string, mode: string) {
    const args = ['--conditions=@duragent/source', script, what, mode, folder, marker];
    const server = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(server, 'exit');
    await Promise.race([once(server.stdout, 'data'), exited]);
    expect(server.exitCode).toBe(null);
    return { server, exited };
  }

  const sleeps = (): boolean =>
    processesWith(marker).some((pid) => commandOf(pid) === `sleep ${marker}`);

  test.each(cases)(
    'of the kind $what that is being started at level $mode when its server is killed does not run (process $depth of its start)',
    async ({ what, mode, depth }) => {
      for (let attempt = 1; attempt <= TRIES; attempt += 1) {
        const { server, exited } = await serve(what, mode);
        server.stdin.write('start\n');
        const frozen = await freezeBelow(server.pid ?? 0, depth);
        server.kill('SIGKILL');
        await exited;
        thaw(frozen);
        let looks = 0;
        const isOver = (): boolean => (looks = sleeps() ? 0 : looks + 1) >= LOOKS;
        await until('it runs no more', isOver, OUTLIVE_MS).catch(() => undefined);
        expect(sleeps()).toBe(false);
      }
    },
  );
});
