import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Workspace } from '../support/duragent.ts';
import { programFile, programsVariable } from '../support/programs.ts';
import { until } from '../support/until.ts';

// Other stories are told of the bundles that are published; this one of what runs in the repository.
let workspace: Workspace;
beforeEach(async () => {
  vi.stubEnv(programsVariable, undefined);
  const support = await import('../support/duragent.ts');
  workspace = await support.Workspace.create();
});
afterEach(async () => {
  await workspace.close();
});

test('the command runs from its sources, and so does the gateway that its server starts', async () => {
  await workspace.configure(
    `gateways: { external: [ { name: loopback, command: duragent-gateway-loopback, config: { port: 0, url_file: "${workspace.dir}/url" } } ] }`,
  );
  const { run, api } = await workspace.serve();
  await until('the gateway is ready', async () => {
    const { body } = await api.get<{ gateways: { state: string }[] }>('/admin/gateways');
    return body.gateways[0]?.state === 'ready';
  });
  const client = workspace.run(['gateway', 'list']);
  expect(await client.exit()).toMatchObject({ code: 0 });
  expect(client.stdout).toContain('loopback');
  expect(await run.kill('SIGTERM')).toMatchObject({ code: 0 });
});

test.each(['duragent', '@duragent/gateway-telegram'] as const)(
  '%s chooses the sources by itself when Node was not told to',
  async (name) => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      programFile(name),
      '--version',
    ]);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  },
);
