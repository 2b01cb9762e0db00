import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LoadedPolicy } from '../core/policy/policy-file.ts';
import type { PolicyOwner, PolicyStore } from './policy-store.ts';

/** What policies are kept in, and stores over it. */
export interface PolicyHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): PolicyStore;
  agent(name: string): PolicyOwner;
  /** Writes a file as a person does; null removes it. */
  write(which: 'workspace' | 'agent' | 'local', agent: string, text: string | null): Promise<void>;
  dispose(): Promise<void>;
}

function rulesOf(loaded: LoadedPolicy): Record<string, unknown> {
  if (loaded.policies === null) return { faults: loaded.faults.length };
  const found: Record<string, unknown> = {};
  for (const [source, policy] of Object.entries(loaded.policies)) {
    if (policy === null) continue;
    const { mode, deny, allow, notify } = policy;
    const texts = (rules: readonly { text: string }[]) => rules.map(({ text }) => text);
    found[source] = [mode, texts(deny), texts(allow), texts(notify)];
  }
  return found;
}

/** What every `PolicyStore` promises. */
export function policyStoreContract(name: string, makeHarness: () => Promise<PolicyHarness>): void {
  describe(name, () => {
    let harness: PolicyHarness;
    let store: PolicyStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(() => harness.dispose());
    const load = async (agent = 'echo') => rulesOf(await store.load(harness.agent(agent)));

    test('without any file there is no policy', async () => {
      expect(await store.load(harness.agent('echo'))).toEqual({
        policies: { workspace: null, agent: null, local: null },
      });
    });

    test('the workspace rules all agents, an agent its own', async () => {
      await harness.write('workspace', '', 'mode: restrict\ndeny: ["bash:rm *"]\n');
      await harness.write('agent', 'echo', 'allow: ["bash:ls"]\nnotify: ["cli:*"]\n');
      await harness.write('local', 'echo', 'allow: ["bash:date"]\n');
      const workspace = ['restrict', ['bash:rm *'], [], []];
      expect(await load()).toEqual({
        workspace,
        agent: [null, [], ['bash:ls'], ['cli:*']],
        local: [null, [], ['bash:date'], []],
      });
      expect(await load('other')).toEqual({ workspace });
    });

    test('an edit counts at once, and so does a removal', async () => {
      for (const rule of ['bash:a', 'bash:b', 'bash:c']) {
        await harness.write('agent', 'echo', `allow: ['${rule}']\n`);
        expect(await load()).toEqual({ agent: [null, [], [rule], []] });
      }
      await harness.write('agent', 'echo', null);
      expect(await load()).toEqual({});
    });

    test.each(['workspace', 'agent', 'local'] as const)(
      'a broken file (%s) is a fault with its place, and what it said before counts no more',
      async (which) => {
        await harness.write(which, 'echo', 'allow: ["bash:ls"]\n');
        await load();
        await harness.write(which, 'echo', 'mode: ask\nalow: []\n');
        const loaded = await store.load(harness.agent('echo'));
        expect(loaded.policies).toBeNull();
        if (loaded.policies !== null) return;
        expect(loaded.faults).toMatchObject([
          { line: 2, column: 1, message: 'unknown key "alow"; did you mean "allow"?' },
        ]);
        expect(loaded.faults[0]?.file).toMatch(/policy(\.local)?\.yaml$/);
        await harness.write(which, 'echo', 'allow: ["bash:id"]\n');
        expect(Object.values(await load())).toEqual([[null, [], ['bash:id'], []]]);
      },
    );

    test('faults of all files are told together', async () => {
      await harness.write('workspace', '', 'mode: all\n');
      await harness.write('agent', 'echo', 'deny: x\n');
      await harness.write('local', 'echo', 'allow: ["ls"]\n');
      expect(await load()).toEqual({ faults: 3 });
    });

    test('a rule that is always allowed is one of this agent', async () => {
      await store.allowAlways(harness.agent('echo'), 'bash:git status');
      await store.allowAlways(harness.agent('echo'), "bash:echo 'a b' 'it'\\''s'");
      const local = [null, [], ['bash:git status', "bash:echo 'a b' 'it'\\''s'"], []];
      expect(await load()).toEqual({ local });
      expect(await load('other')).toEqual({});
      store = harness.open();
      expect(await load()).toEqual({ local });
    });

    test('a rule is added once', async () => {
      for (let time = 0; time < 3; time += 1) {
        await store.allowAlways(harness.agent('echo'), 'cli:deploy');
      }
      expect(await load()).toEqual({ local: [null, [], ['cli:deploy'], []] });
    });

    test('rules that are added at the same time are all there', async () => {
      const rules = Array.from({ length: 20 }, (_, index) => `mcp:github:tool_${index % 15}`);
      await Promise.all(rules.map((rule) => store.allowAlways(harness.agent('echo'), rule)));
      expect(await load()).toEqual({ local: [null, [], rules.slice(0, 15), []] });
    });

    test('what people wrote stays when a rule is added', async () => {
      await harness.write('local', 'echo', 'mode: ask\ndeny: ["bash:rm *"]\nallow: ["bash:ls"]\n');
      await store.allowAlways(harness.agent('echo'), '*:ping');
      const local = ['ask', ['bash:rm *'], ['bash:ls', '*:ping'], []];
      expect(await load()).toEqual({ local });
    });

    test.each([
      '',
      'ls',
      'bash:',
      'bash:ls | sh',
      'bash:cd /',
      'x:y',
      'cli:a b',
      'bash:ls\n- "*:*"',
    ])('what is no rule that allows is refused: %j', async (rule) => {
      const refusal = await store
        .allowAlways(harness.agent('echo'), rule)
        .catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(DuragentError);
      expect(refusal).toMatchObject({ code: 'invalid_request' });
      expect(await load()).toEqual({});
    });

    test('no rule is added to a file that does not load', async () => {
      await harness.write('local', 'echo', 'allow: [\n');
      const adding = store.allowAlways(harness.agent('echo'), 'bash:ls');
      await expect(adding).rejects.toMatchObject({ code: 'config_invalid' });
      expect(await load()).toEqual({ faults: 1 });
    });

    test('a full file takes no more, and says so', async () => {
      const rules = Array.from({ length: 1000 }, (_, index) => `cli:tool-${index}`);
      await harness.write('local', 'echo', JSON.stringify({ allow: rules }));
      await store.allowAlways(harness.agent('echo'), 'cli:tool-999');
      const adding = store.allowAlways(harness.agent('echo'), 'cli:more');
      await expect(adding).rejects.toMatchObject({ code: 'config_invalid' });
      expect(await load()).toEqual({ local: [null, [], rules, []] });
    });
  });
}
