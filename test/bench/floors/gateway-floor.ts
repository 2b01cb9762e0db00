import { spawn } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';

// The floor of the gateways' rows: the smallest server of one gateway. `acks`: it appends and syncs
// each message twice, in one file, and acknowledges it. `answers`: it appends and syncs one file per
// session twice a turn, the message before its ack and the answer before it is sent.

const [mode = '', directory = '', gateway = '', config = '{}'] = process.argv.slice(2);
const files = new Map<string, Promise<FileHandle>>();
let requests = 0;

const child = spawn(process.execPath, [gateway], { stdio: ['pipe', 'pipe', 'inherit'] });
child.once('exit', (code) => process.exit(code ?? 1));
process.on('SIGTERM', () => child.stdin.end());

let rest = '';
child.stdout.setEncoding('utf8');
child.stdout.on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) {
    const event = JSON.parse(line) as Event;
    if (event.type === 'message_received') void take(event);
  }
});
send({ type: 'configure', config: JSON.parse(config) as object });

async function take({ event_id, chat_id, content }: Event): Promise<void> {
  if (mode === 'acks') {
    await append('inbox', { event_id, content: content.text });
    await append('inbox', { handed_over: event_id });
    send({ type: 'ack', event_ids: [event_id] });
    return;
  }
  await append(chat_id, { role: 'user', content: content.text });
  send({ type: 'ack', event_ids: [event_id] });
  const answer = `echo: ${content.text}`;
  await append(chat_id, { role: 'assistant', content: answer });
  send({
    type: 'send_message',
    request_id: `r${++requests}`,
    chat_id,
    content: answer,
    format: 'text',
    part: 1,
    parts: 1,
  });
}

async function append(name: string, record: object): Promise<void> {
  let opening = files.get(name);
  if (opening === undefined) {
    opening = open(path.join(directory, `${name}.jsonl`), 'a');
    files.set(name, opening);
  }
  const file = await opening;
  await file.appendFile(`${JSON.stringify(record)}\n`);
  await file.datasync();
}

function send(command: object): void {
  child.stdin.write(`${JSON.stringify(command)}\n`);
}

interface Event {
  type: string;
  event_id: string;
  chat_id: string;
  content: { text: string };
}
