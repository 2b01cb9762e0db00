import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import escapes from '../../../../../test/fixtures/sandbox-escapes.json' with { type: 'json' };
import { needs } from '../../../../../test/support/needs.ts';
import { until } from '../../../../../test/support/until.ts';
import { processesWith, uniqueSleep } from '../../ports/sandbox.contract.ts';
import type { Sandbox, SandboxNetwork } from '../../ports/sandbox.ts';
import { openSandbox } from './open-sandbox.ts';
import { testFolder } from './testing.ts';

interface Escape {
  name: string;
  /** Bash; prints ESCAPED where nothing else would tell that it got out. */
  script: string;
  /** Gets out at level trust: shows that the attempt and the checks are worth something. */
  trust?: boolean;
  /** Gets out where the command has a network. */
  network?: boolean;
}

const CANARY = 'canary-8f1d0c';

/** What lies there before each attempt; a text is a file's content. */
const files: Record<string, string> = {
  'outside/file': 'outside',
  'home/.ssh/id_ed25519': CANARY,
  'home/.aws/credentials': CANARY,
  'hidden.key': CANARY,
  'ws/.env': CANARY,
  'ws/conf/.env': CANARY,
  'ws/duragent.yaml': 'sandbox: {}',
  'ws/shared/kept': 'kept',
  'ws/.duragent/auth/token': CANARY,
  'ws/.duragent/sessions/ses_1/events.jsonl': CANARY,
  'ws/.duragent/agents/me/policy.yaml': 'mode: ask',
  'ws/.duragent/agents/other/SOUL.md': CANARY,
};

/** A machine around a sandbox that notices what gets out. */
class Surroundings {
  readonly base: string;
  readonly #closers: (() => unknown)[] = [];
  #bystander!: ChildProcess;
  #marker = '';
  #reached = 0;
  #env: Record<string, string> = {};
  #before: string[] = [];

  constructor(base: string) {
    this.base = base;
  }

  async open(): Promise<void> {
    this.#marker = uniqueSleep();
    this.#bystander = spawn('sleep', [this.#marker], { env: { ...process.env, SECRET: CANARY } });
    const onReached = (): void => void (this.#reached += 1);
    const abstract = `duragent-${process.pid}-${path.basename(this.base)}`;
    const tcp = createServer(onReached);
    await new Promise<void>((resolve) => tcp.listen(0, 'localhost', resolve));
    const tcp4 = createServer(onReached);
    const address = tcp.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    await new Promise<void>((resolve) => {
      tcp4.once('error', () => resolve());
      tcp4.listen(port, '127.0.0.1', resolve);
    });
    const unix = createServer(onReached);
    await new Promise<void>((resolve) => unix.listen(`\0${abstract}`, resolve));
    const udp = createSocket('udp4', onReached);
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
    this.#closers.push(
      () => tcp.close(),
      () => tcp4.listening && tcp4.close(),
      () => unix.close(),
      () => udp.close(),
    );
    const at = (name: string): string => path.join(this.base, name);
    this.#env = {
      BASE: this.base,
      OUTSIDE: at('outside'),
      DATA: at('ws/.duragent'),
      OWNER_HOME: at('home'),
      HIDDEN: at('hidden.key'),
      BYSTANDER: String(this.#bystander.pid),
      PORT: String(port),
      UDP_PORT: String(udp.address().port),
      ABSTRACT: abstract,
      NODE: process.execPath,
    };
  }

  /** All as it was before the first attempt. */
  async reset(): Promise<void> {
    for (const name of await readdir(this.base)) {
      if (name !== 'home') await rm(path.join(this.base, name), { recursive: true, force: true });
    }
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.base, name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, content, { mode: 0o600 });
    }
    await symlink(path.join(this.base, 'outside'), path.join(this.base, 'ws/link'));
    this.#before = await this.#look();
    this.#reached = 0;
  }

  /** A socket that rules something, where they lie. */
  async listenInHome(): Promise<void> {
    await mkdir(path.join(this.base, 'home'), { recursive: true });
    const server = createServer(() => (this.#reached += 1));
    await new Promise<void>((resolve) => server.listen(path.join(this.base, 'home/s'), resolve));
    this.#closers.push(() => server.close());
  }

  /** What got out of the sandbox, in words. */
  async attempt(sandbox: Sandbox, script: string, network: SandboxNetwork): Promise<string[]> {
    const workspace = path.join(this.base, 'ws');
    const marker = uniqueSleep();
    const outcome = await sandbox.run(
      {
        argv: ['bash', '--noprofile', '--norc', '-c', script],
        cwd: workspace,
        env: { ...this.#env, MARKER: script.includes('BYSTANDER') ? this.#marker : marker },
        network,
        readable: [path.join(this.base, 'ws/.duragent/agents/me'), process.execPath],
        timeoutMs: 10_000,
      },
      { signal: new AbortController().signal },
    );
    if (outcome.end !== 'exited') return [`it did not run to its end: ${JSON.stringify(outcome)}`];
    const { head } = outcome.output;
    const left = processesWith(marker);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    const after = await this.#look();
    // A connection that was made is told of in the next round.
    for (let i = 0; i < 3; i += 1) await new Promise(setImmediate);
    return [
      ...(head.includes(CANARY) ? ['it read a secret'] : []),
      ...(/^ESCAPED$/m.test(head) ? ['it says so'] : []),
      ...(this.#reached > 0 ? ['it reached a socket'] : []),
      ...(left.length > 0 ? ['it left a process'] : []),
      ...(this.#bystander.exitCode !== null || this.#bystander.signalCode !== null
        ? ['it killed a process']
        : []),
      ...after.filter((line) => !this.#before.includes(line)).map((line) => `it made ${line}`),
      ...this.#before.filter((line) => !after.includes(line)).map((line) => `it removed ${line}`),
    ];
  }

  close(): void {
    this.#bystander.kill('SIGKILL');
    for (const close of this.#closers) close();
  }

  /** What may not change: a line for each file and folder, but for new ones in the workspace. */
  async #look(folder = this.base): Promise<string[]> {
    const lines: string[] = [];
    for (const name of await readdir(folder)) {
      const place = path.join(folder, name);
      const relative = path.relative(this.base, place);
      const facts = await lstat(place);
      const isOurs = relative === 'ws/link' || isKnown(relative);
      if (relative.startsWith('ws/') && !relative.startsWith('ws/.duragent') && !isOurs) continue;
      const mode = (facts.mode & 0o7777).toString(8);
      if (facts.isDirectory()) lines.push(`${relative}/`, ...(await this.#look(place)));
      else if (facts.isSymbolicLink()) lines.push(`${relative} -> ${await readlink(place)}`);
      else if (facts.isFile()) lines.push(`${relative} ${mode} ${await readFile(place, 'utf8')}`);
      else lines.push(`${relative} ${mode}`);
    }
    return lines.sort();
  }
}

function isKnown(relative: string): boolean {
  return Object.keys(files).some((name) => name === relative || name.startsWith(`${relative}/`));
}

async function openIn(base: string, mode: 'bubblewrap' | 'trust'): Promise<Sandbox> {
  const at = (name: string): string => path.join(base, name);
  const sandbox = await openSandbox({
    mode,
    places: {
      workspace: at('ws'),
      dataDir: at('ws/.duragent'),
      homes: [at('home')],
      envFolders: [at('ws'), at('ws/conf')],
      hidden: [at('hidden.key')],
      readOnly: [at('ws/duragent.yaml'), at('ws/shared/kept')],
      reserved: [],
    },
    baseEnv: { PATH: process.env['PATH'], HOME: at('home'), OPENAI_API_KEY: CANARY },
    isRefusedVariable: () => false,
  });
  await sandbox.ready();
  return sandbox;
}

const all: Escape[] = escapes;

describe.skipIf(!needs('bwrap'))('a command in bubblewrap that', () => {
  let around: Surroundings;
  let sandbox: Sandbox;
  beforeAll(async () => {
    around = new Surroundings(await testFolder());
    await around.open();
    await around.listenInHome();
    await around.reset();
    sandbox = await openIn(around.base, 'bubblewrap');
  });
  afterAll(async () => {
    around.close();
    await rm(around.base, { recursive: true, force: true });
    await sandbox[Symbol.asyncDispose]();
  });

  test.each(all)('$name stays inside', async ({ script, network }) => {
    await around.reset();
    expect(await around.attempt(sandbox, script, network ? 'none' : 'all')).toEqual([]);
  });

  test.each(all.filter(({ network }) => network === true))(
    '$name would get out with a network',
    async ({ script }) => {
      await around.reset();
      expect(await around.attempt(sandbox, script, 'all')).not.toEqual([]);
    },
  );
});

describe('a command without a sandbox that', () => {
  let around: Surroundings;
  let sandbox: Sandbox;
  beforeAll(async () => {
    around = new Surroundings(await testFolder());
    await around.open();
    await around.listenInHome();
    await around.reset();
    sandbox = await openIn(around.base, 'trust');
  });
  afterAll(async () => {
    around.close();
    await rm(around.base, { recursive: true, force: true });
    await sandbox[Symbol.asyncDispose]();
  });

  test.each(all.filter(({ trust }) => trust === true))('$name is noticed', async ({ script }) => {
    await around.reset();
    expect(await around.attempt(sandbox, script, 'all')).not.toEqual([]);
  });
});

describe.skipIf(process.platform !== 'linux')('a server that is killed', () => {
  const server = fileURLToPath(new URL('server.testing.ts', import.meta.url));

  const modes = needs('bwrap') ? ['bubblewrap', 'trust'] : ['trust'];
  test.each(modes)('leaves no process at level %s', async (mode) => {
    const base = await testFolder();
    const marker = uniqueSleep();
    const args = ['--conditions=@duragent/source', server, mode, base, marker];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let said = '';
      child.stdout.on('data', (chunk) => (said += String(chunk)));
      await until('its commands run', () => said.includes('started') || child.exitCode !== null);
      const { endsAll } = JSON.parse(said.split('\n')[0] ?? '') as { endsAll: boolean };
      // Where the machine forbids namespaces, its report says so, and nothing is promised.
      if (!endsAll) return;
      await until('all of them', () => processesWith(marker).length >= 6);
      child.kill('SIGKILL');
      await until('the end of all', () => processesWith(marker).length === 0);
    } finally {
      child.kill('SIGKILL');
      for (const pid of processesWith(marker)) process.kill(pid, 'SIGKILL');
      await rm(base, { recursive: true, force: true });
    }
  });
});
