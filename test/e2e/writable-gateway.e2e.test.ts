import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';

let workspace: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create();
});
afterEach(async () => {
  await workspace.close();
});

/** A program that lasts no longer than it is asked to. */
async function program(file: string): Promise<string> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, '#!/bin/sh\nexec cat >/dev/null\n', { mode: 0o700 });
  return file;
}

test('a gateway that sandboxed commands could rewrite is warned of when the server starts', async () => {
  const inside = await program(path.join(workspace.dir, 'work', 'inside.sh'));
  const outside = await program(path.join(workspace.dir, 'bin', 'outside.sh'));
  const link = path.join(workspace.dir, 'bin', 'link.sh');
  await symlink(inside, link);
  const gateway = (name: string, command: string, args: string[] = []) => ({ name, command, args });
  // JSON is YAML.
  await workspace.configure(
    JSON.stringify({
      sandbox: { workspace: 'work' },
      gateways: {
        external: [
          gateway('in', inside),
          gateway('script', '/bin/sh', ['work/inside.sh']),
          gateway('linked', link),
          gateway('out', outside, ['--quiet', 'work']),
        ],
      },
    }),
  );
  const { run } = await workspace.serve();
  const warned = [...(run.stdout + run.stderr).matchAll(/which the gateway (\w+) runs outside/g)];
  expect(warned.map(([, name]) => name)).toEqual(['in', 'script', 'linked']);
});
