import { MAX_LINE_BYTES } from '@duragent/protocol';
import type { Bench } from './bench.ts';
import { Broken, Skipped, type Rule } from './rule.ts';

/** Line ends to some, and none to JSON Lines; characters of two, three and four bytes. */
export const ODD_TEXT = 'a\u2028b\u2029c\u0085d é 語 🙂 e\u0301';

/** How a gateway reads lines. */
export const lineRules: readonly Rule[] = [
  {
    id: 'ping',
    rule: 'Answers ping with pong.',
    section: 'To a gateway: `ping`',
    async check(bench) {
      bench.hasPong = false;
      const answer = await bench.ask(await bench.gateway(), { type: 'ping' });
      if (answer.type !== 'pong') throw new Broken(`it answered ${answer.type}`);
      bench.hasPong = true;
    },
  },
  {
    id: 'split-writes',
    rule: 'Reads a command that comes in several pieces.',
    section: 'Transport',
    async check(bench) {
      needsPong(bench);
      const run = await bench.gateway();
      // The id tells whether a character that was cut in two came through.
      const ping = { type: 'ping', request_id: `${bench.newId()}-é語🙂` };
      await run.sendInPieces(ping, 3);
      await bench.answer(run, ping.request_id);
    },
  },
  {
    id: 'joined-writes',
    rule: 'Reads several commands that come in one piece.',
    section: 'Transport',
    async check(bench) {
      needsPong(bench);
      const run = await bench.gateway();
      const pings = Array.from({ length: 20 }, () => ({ type: 'ping', request_id: bench.newId() }));
      run.send(...pings);
      for (const { request_id } of pings) await bench.answer(run, request_id);
    },
  },
  {
    id: 'line-separators',
    rule: 'Ends lines at LF and nowhere else: U+2028 and its like are text.',
    section: 'Transport',
    async check(bench) {
      needsPong(bench);
      const run = await bench.gateway();
      const request_id = `${bench.newId()}-${ODD_TEXT}`;
      run.send({ type: 'ping', request_id });
      await bench.answer(run, request_id);
    },
  },
  {
    id: 'unknown-types',
    rule: 'Ignores commands of a type that it does not know.',
    section: 'Transport',
    async check(bench) {
      const run = await bench.gateway();
      const request_id = bench.newId();
      run.send({ type: 'x_later' }, { type: 'x_later_request', request_id });
      await bench.checkAlive(run, 'commands of an unknown type');
      const answer = run.requests.get(request_id)?.answers[0];
      if (answer !== undefined && answer.type !== 'command_error') {
        throw new Broken(`it answered a command that it cannot know with ${answer.type}`);
      }
    },
  },
  {
    id: 'unknown-fields',
    rule: 'Ignores fields that it does not know.',
    section: 'Transport',
    async check(bench) {
      needsPong(bench);
      const later = { x_later: { a: [1, null, 'b'] }, x_more: true };
      const answer = await bench.ask(await bench.gateway(), { type: 'ping', ...later });
      if (answer.type !== 'pong') throw new Broken(`it answered a ping with ${answer.type}`);
    },
  },
  {
    id: 'blank-lines',
    rule: 'Goes on after an empty line.',
    section: 'Transport',
    check: (bench) => checkGoesOn(bench, 'an empty line', '\n   \n\r\n\n'),
  },
  {
    id: 'garbage-lines',
    rule: 'Goes on after a line that is no JSON object.',
    section: 'Transport',
    async check(bench) {
      const lines = ['no json', '{"type":', '[]', '[{"type":"ping"}]', '7', '"text"', 'null', '{}'];
      const deep = `${'['.repeat(3000)}${']'.repeat(3000)}`;
      const types = ['{"type":7}', '{"type":null}', '{"type":{"type":"ping"}}'];
      for (const line of [...lines, ...types]) {
        await checkGoesOn(bench, `the line ${line}`, `${line}\n`);
      }
      await checkGoesOn(bench, 'a line nested 3000 deep', `${deep}\n`);
      const notText = Buffer.from([0x22, 0xff, 0xfe, 0xc3, 0x28, 0x22, 0x0a]);
      await checkGoesOn(bench, 'a line that is not UTF-8', notText);
    },
  },
  {
    id: 'oversized-lines',
    rule: 'Goes on after a line of more than 1 MiB.',
    section: 'Transport',
    check: (bench) =>
      checkGoesOn(
        bench,
        'a line of 1.5 MiB',
        `{"type":"x_later","text":"${'x'.repeat(MAX_LINE_BYTES * 1.5)}"}\n`,
      ),
  },
];

/** These rules are told by pings; without them nothing is. */
function needsPong({ hasPong }: Bench): void {
  if (!hasPong) throw new Skipped('the gateway does not answer pings');
}

async function checkGoesOn(bench: Bench, what: string, bytes: string | Buffer): Promise<void> {
  const run = await bench.gateway();
  void run.write(bytes);
  await bench.checkAlive(run, what);
}
