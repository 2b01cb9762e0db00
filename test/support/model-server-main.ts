import { parseArgs } from 'node:util';
import { startModelServer } from './model-server.ts';

/**
 * The model server as a process of its own: prints `{"url": …}` as its first line, and ends when
 * its stdin ends. `--tokens N` and `--delay MS` shape every answer; each line on stdin is answered
 * with a line of counts.
 */
const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    tokens: { type: 'string', default: '50' },
    delay: { type: 'string', default: '0' },
  },
});

const server = await startModelServer({
  port: Number(values.port),
  behaviour: { type: 'answer', tokens: Number(values.tokens), delayMs: Number(values.delay) },
  keep: 10,
});
print({ url: server.url });

process.stdin.on('data', (bytes: Buffer) => {
  for (const byte of bytes) {
    if (byte === 0x0a) {
      const { started, finished, closedEarly } = server;
      print({ started, finished, closedEarly });
    }
  }
});
process.stdin.on('end', () => void server.close());

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
