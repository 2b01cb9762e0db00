import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ToolServer } from './tool-server.ts';

/** A server, not written for these tests, that has the tools of the reference server. */
export interface ToolServerHarness {
  server: ToolServer;
  /** Whether anything of the server is left. */
  isRunning(): Promise<boolean>;
  dispose(): Promise<void>;
}

const never = new AbortController().signal;

/** What every `ToolServer` promises, over a server that behaves well. */
export function toolServerContract(
  name: string,
  makeHarness: () => Promise<ToolServerHarness>,
): void {
  describe(name, () => {
    let harness: ToolServerHarness;
    let server: ToolServer;
    beforeEach(async () => {
      harness = await makeHarness();
      ({ server } = harness);
    });
    afterEach(async () => {
      await server.close();
      await harness.dispose();
    });

    test('its tools are listed with their schemas', async () => {
      const { tools, fault } = await server.tools({ signal: never });
      expect(fault).toBeNull();
      const sum = tools.find((tool) => tool.name === 'get-sum');
      expect(sum).toMatchObject({
        description: expect.stringContaining('sum'),
        parameters: { type: 'object', required: ['a', 'b'] },
        readOnly: true,
      });
      expect(tools.map((tool) => tool.name)).toContain('echo');
    });

    test('a list is asked for once', async () => {
      const first = await server.tools({ signal: never });
      const second = await server.tools({ signal: never });
      expect(second.tools).toBe(first.tools);
    });

    test('a call gives its text', async () => {
      expect(await server.call('get-sum', { a: 2, b: 3 }, { signal: never })).toEqual({
        outcome: 'ok',
        content: 'The sum of 2 and 3 is 5.',
        truncated: false,
      });
    });

    test('calls at the same time get each their own answer', async () => {
      const messages = Array.from({ length: 20 }, (_, index) => `message ${index}`);
      const results = await Promise.all(
        messages.map((message) => server.call('echo', { message }, { signal: never })),
      );
      expect(results.map(({ content }) => content)).toEqual(messages.map((it) => `Echo: ${it}`));
    });

    test('pictures are described, structured content is JSON', async () => {
      const picture = await server.call('get-tiny-image', {}, { signal: never });
      expect(picture.content).toMatch(/\[image\/png, \d+ kB\]/);
      const weather = await server.call(
        'get-structured-content',
        { location: 'Chicago' },
        { signal: never },
      );
      expect(JSON.parse(weather.content)).toMatchObject({ temperature: expect.any(Number) });
    });

    test('a tool that does not exist, and arguments that it does not take, are errors', async () => {
      const unknown = await server.call('no-such-tool', {}, { signal: never });
      expect(unknown).toMatchObject({
        outcome: 'error',
        content: expect.stringContaining('no-such-tool'),
      });
      const wrong = await server.call('get-sum', { a: 'x' }, { signal: never });
      expect(wrong).toMatchObject({ outcome: 'error' });
    });

    test('progress is told while a call works', async () => {
      const said: string[] = [];
      const result = await server.call(
        'trigger-long-running-operation',
        { duration: 0.2, steps: 2 },
        { signal: never, onProgress: (text) => said.push(text) },
      );
      expect(result.outcome).toBe('ok');
      expect(said).toContain('1/2');
    });

    test('a cancelled call ends at once, and the server goes on', async () => {
      const stop = new AbortController();
      const call = server.call(
        'trigger-long-running-operation',
        { duration: 600, steps: 30_000 },
        { signal: stop.signal, onProgress: () => stop.abort() },
      );
      expect(await call).toMatchObject({ outcome: 'cancelled' });
      expect(await server.call('echo', { message: 'here' }, { signal: never })).toMatchObject({
        content: 'Echo: here',
      });
    });

    test('a call whose signal has aborted before is not made', async () => {
      const result = await server.call(
        'echo',
        { message: 'x' },
        { signal: AbortSignal.abort(new Error('no')) },
      );
      expect(result).toMatchObject({ outcome: 'cancelled' });
    });

    test('a call that takes too long is timed out', async () => {
      await server.tools({ signal: never });
      const result = await server.call(
        'trigger-long-running-operation',
        { duration: 600, steps: 1 },
        { signal: never, timeoutMs: 50 },
      );
      expect(result).toMatchObject({
        outcome: 'timed_out',
        content: expect.stringContaining('0.05 s'),
      });
    });

    test('closed, nothing of it is left, and calls are refused', async () => {
      await server.tools({ signal: never });
      await server.close();
      expect(await harness.isRunning()).toBe(false);
      const result = await server.call('echo', { message: 'x' }, { signal: never });
      expect(result.outcome).not.toBe('ok');
      expect(await harness.isRunning()).toBe(false);
    });

    test('closing ends calls that are open', async () => {
      const begun = Promise.withResolvers<void>();
      const call = server.call(
        'trigger-long-running-operation',
        { duration: 600, steps: 30_000 },
        { signal: never, onProgress: () => begun.resolve() },
      );
      await begun.promise;
      await server.close();
      expect((await call).outcome).toBe('cancelled');
    });
  });
}
