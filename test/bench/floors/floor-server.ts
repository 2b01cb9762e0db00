import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import Koa from 'koa';

// The floor: the smallest koa server that relays the model's stream, and appends and syncs one
// file per session twice a turn. It parses the stream once, at its end, because the answer is text.

const [port, directory = '', modelUrl] = process.argv.slice(2);
const files = new Map<string, Promise<FileHandle>>();

const app = new Koa();
app.use(async (ctx) => {
  if (ctx.method !== 'POST') {
    ctx.body = 'ready';
    return;
  }
  const session = path.basename(ctx.path);
  const { content } = JSON.parse(await text(ctx.req)) as { content: string };
  await append(session, { role: 'user', content });
  const response = await fetch(`${modelUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'bench',
      stream: true,
      messages: [{ role: 'user', content }],
    }),
  });
  if (response.body === null) throw new Error('the model sent nothing');
  ctx.type = 'text/event-stream';
  ctx.body = Readable.from(relay(session, response.body));
});
app.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));

/** The bytes as they come; the answer is durable before they end. */
async function* relay(
  session: string,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of body) {
    parts.push(part);
    yield part;
  }
  await append(session, { role: 'assistant', content: answerOf(Buffer.concat(parts).toString()) });
}

async function append(session: string, message: object): Promise<void> {
  let opening = files.get(session);
  if (opening === undefined) {
    opening = open(path.join(directory, `${session}.jsonl`), 'a');
    files.set(session, opening);
  }
  const file = await opening;
  await file.appendFile(`${JSON.stringify(message)}\n`);
  await file.datasync();
}

function answerOf(stream: string): string {
  const chunks = stream
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice('data: '.length)) as Chunk);
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
}

interface Chunk {
  choices: { delta: { content?: string } }[];
}
