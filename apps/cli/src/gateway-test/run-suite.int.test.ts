import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../../../test/support/until.ts';
import type { BenchOptions } from './bench.ts';
import { allRules, runSuite, type Report } from './run-suite.ts';

const protocolFile = path.join(import.meta.dirname, '../../../../protocol/PROTOCOL.md');
const scripted = path.join(import.meta.dirname, 'scripted-gateway.testing.ts');

let root: string;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'duragent-gateway-suite-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

async function suite(fault: string, provoke: string | null = writesFile): Promise<Report> {
  const dir = await mkdtemp(path.join(root, `${fault}-`));
  const inbox = path.join(dir, 'inbox');
  await mkdir(inbox, { recursive: true });
  return await runSuite(
    { ...optionsFor(dir), command: process.execPath, args: [scripted, fault, inbox], provoke },
    { onRule: () => undefined, signal: new AbortController().signal },
  );
}

function optionsFor(dir: string): Omit<BenchOptions, 'command' | 'args'> {
  const env = process.env;
  return {
    cwd: dir,
    env,
    config: {},
    chat: null,
    provoke: null,
    dir,
    // Silence is told from slowness by these, and five suites run at once.
    answerMs: 5000,
    exitMs: 5000,
  };
}

/** Whole at once: its gateway never reads half of a message. */
const writesFile =
  'file=$(mktemp inbox/.XXXXXXXX) && printf %s "$DURAGENT_TEST_TEXT" > "$file" && mv "$file" "inbox/${file##*.}"';

function failed({ rules }: Report): string[] {
  return rules.filter(({ result }) => result === 'fail').map(({ id }) => id);
}

describe('the suite', () => {
  test('passes a gateway that keeps every rule, and skips nothing', async () => {
    const report = await suite('none');
    expect(report.rules.filter(({ result }) => result !== 'pass')).toEqual([]);
    expect(report).toMatchObject({ gateway: 'scripted', protocol: 'v1' });
    expect(report.rules.map(({ id }) => id)).toEqual(allRules.map(({ id }) => id));
  });

  test('says of each rule that it skips how it could be tested', async () => {
    const { rules } = await suite('none', null);
    const skipped = rules.filter(({ result }) => result === 'skipped');
    expect(skipped.map(({ id }) => id)).toEqual(
      allRules.filter((rule) => rule.provoked === true).map(({ id }) => id),
    );
    for (const { why } of skipped) expect(why).toContain('--provoke');
  });

  test('breaks the rules of arrivals where the command that provokes does not work', async () => {
    const { rules } = await suite('none', 'echo no such thing >&2; exit 7');
    const broken = rules.filter(({ result }) => result === 'fail');
    expect(broken.map(({ id }) => id)).toContain('inbound');
    expect(broken[0]?.why).toContain('it ended with 7: no such thing');
  });

  test('ends what it started when it is interrupted', async () => {
    const controller = new AbortController();
    const dir = await mkdtemp(path.join(root, 'interrupted-'));
    const running = runSuite(
      {
        ...optionsFor(dir),
        command: '/bin/sh',
        args: ['-c', 'echo $$ > .pid && mv .pid pid; sleep 60'],
        answerMs: 60_000,
      },
      { onRule: () => undefined, signal: controller.signal },
    );
    const pid = await until('it runs', async () =>
      Number(await readFile(path.join(dir, 'pid'), 'utf8')),
    );
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  test('has a name of its own and a section of PROTOCOL.md for each rule', async () => {
    expect(new Set(allRules.map(({ id }) => id)).size).toBe(allRules.length);
    const document = await readFile(protocolFile, 'utf8');
    const headings = [...document.matchAll(/^#{2,4} (.+)$/gm)].map((match) => match[1]);
    for (const { section } of allRules) expect(headings).toContain(section);
  });
});

describe.concurrent('a gateway', () => {
  test.each([
    ['never-ready', ['ready-first']],
    ['speaks-before-ready', ['ready-first']],
    ['nameless-ready', ['ready-valid']],
    ['newer-protocol', ['protocol-version']],
    ['odd-capability', ['capabilities-known']],
    ['no-pong', ['ping']],
    ['takes-chunks-for-lines', ['split-writes']],
    ['reads-one-of-many', ['joined-writes']],
    ['splits-at-u2028', ['line-separators', 'unicode-content']],
    ['dies-of-unknown-type', ['unknown-types']],
    ['strict-fields', ['unknown-fields']],
    ['dies-of-blank', ['blank-lines']],
    ['dies-of-garbage', ['garbage-lines']],
    ['gives-up-on-garbage', ['garbage-lines']],
    ['dies-of-long', ['oversized-lines']],
    ['answers-no-posts', ['send-message']],
    ['no-message-id', ['send-message']],
    ['one-id-for-all', ['requests-at-once']],
    ['limit-off-by-one', ['longest-content']],
    ['posts-invalid', ['invalid-requests']],
    ['edit-invents', ['edit-unknown']],
    ['delete-invents', ['delete-unknown']],
    ['preview-posted-anew', ['preview']],
    ['invents-a-preview', ['preview']],
    ['answers-previews', ['one-answer']],
    ['ignores-nonce', ['nonce']],
    ['finds-anything', ['find']],
    ['finds-nothing', ['find']],
    ['answers-typing', ['typing', 'one-answer']],
    ['hears-nothing', ['inbound']],
    ['unnamed-events', ['inbound']],
    ['one-event-id', ['event-id-unique']],
    ['mangles-text', ['inbound-text']],
    ['confirms-early', ['ack-awaited']],
    ['renames-events', ['event-id-stable']],
    ['never-confirms', ['ack-confirms']],
    ['ignores-shutdown', ['shutdown']],
    ['ends-with-1', ['shutdown', 'stdin-end']],
    ['forgets-what-is-open', ['open-answered']],
    ['speaks-after-shutdown', ['silent-after-shutdown']],
    ['leaves-a-child', ['nothing-left']],
    ['chatty', ['stdout-json']],
    ['marks-lines', ['stdout-json']],
    ['invalid-event', ['events-valid']],
    ['answers-twice', ['one-answer']],
    ['odd-error-code', ['too-long-content', 'error-codes']],
  ])(
    'that is "%s" breaks %j',
    async (fault, rules) => {
      expect(failed(await suite(fault))).toEqual(rules);
    },
    120_000,
  );

  test('that posts what is invalid is told what that was', async () => {
    const { rules } = await suite('posts-invalid');
    const broken = rules.find(({ result }) => result === 'fail');
    expect(broken?.why).toBe('it answered command_ok to a send_message without chat_id');
  }, 120_000);

  test('that is "outlives-stdin" breaks what is asked of the end of its stdin', async () => {
    // Where both its pipes are closed it ends by what it happens to write, or not.
    const broken = failed(await suite('outlives-stdin')).filter((rule) => rule !== 'server-gone');
    expect(broken).toEqual(['stdin-end', 'stdin-end-early', 'stdin-end-busy', 'nothing-left']);
  }, 120_000);

  test('that is "repeats-renamed" breaks what is asked of names', async () => {
    // What it says again may be taken for what was said next, and for what came before its ack.
    const broken = failed(await suite('repeats-renamed'));
    const alsoMay = ['inbound-text', 'ack-awaited'];
    expect(broken.filter((rule) => !alsoMay.includes(rule))).toEqual(['event-id-stable']);
  }, 120_000);

  test('that is "dies-of-cursor" breaks what is asked of one that is confirmed to', async () => {
    // It may have been asked for something else too when it dies.
    const broken = failed(await suite('dies-of-cursor')).filter((rule) => rule !== 'open-answered');
    expect(broken).toEqual(['ack-awaited', 'ack-confirms', 'restart']);
  }, 120_000);
});
