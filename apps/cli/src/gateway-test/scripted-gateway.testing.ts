import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

// A small gateway without any help of the protocol's own code, that breaks one rule: the one its
// first argument names. Its platform is a folder, the second argument, where each file is a message.

const [fault = 'none', inbox = '.'] = process.argv.slice(2);
const is = (name: string): boolean => fault === name;

interface Command {
  [field: string]: unknown;
  type: string;
  request_id?: string;
}
interface Post {
  id: string;
  text: string;
  nonce: unknown;
  preview: unknown;
}

const MAX_LENGTH = 1000;
const MAX_LINE = 1024 * 1024;
const posts: Post[] = [];
const sent = new Set<string>();
let lastId = 0;
let isReady = false;
let isOver = false;
let kept = Buffer.alloc(0);
let isDropping = false;

function say(event: object): void {
  if (isOver) return;
  const mark = is('marks-lines') ? '\uFEFF' : '';
  process.stdout.write(`${mark}${JSON.stringify(event)}\n`);
}

function ok(request: Command, message_id?: string): void {
  const answer = { type: 'command_ok', request_id: request.request_id, message_id };
  say(answer);
  if (is('answers-twice') && request.type === 'send_message') say(answer);
}

function refuse(request: Command, code: string): void {
  say({ type: 'command_error', request_id: request.request_id, code, message: 'no' });
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function send(command: Command): void {
  if (is('answers-no-posts')) return undefined;
  const { chat_id: chat, content, format, inline_keyboard: keyboard } = command;
  const isValid =
    isText(chat) &&
    typeof content === 'string' &&
    (format === 'text' || format === 'markdown') &&
    (keyboard === undefined || !JSON.stringify(keyboard).includes('"data":""'));
  if (!isValid && !is('posts-invalid')) return refuse(command, 'invalid_request');
  const text = String(content);
  if (text.length + (is('limit-off-by-one') ? 1 : 0) > MAX_LENGTH) {
    return refuse(command, is('odd-error-code') ? 'whatever' : 'too_long');
  }
  if (text.includes('first message') && is('no-message-id')) return ok(command);
  if (text.includes('before shutdown') && is('forgets-what-is-open')) return undefined;
  const { preview_id: preview } = (command['replaces'] ?? {}) as { preview_id?: string };
  const known = posts.find(
    (post) =>
      (preview !== undefined && post.preview === preview && !is('preview-posted-anew')) ||
      (command['nonce'] !== undefined && post.nonce === command['nonce'] && !is('ignores-nonce')),
  );
  if (known !== undefined) known.text = text;
  const post = known ?? add(text, undefined);
  post.nonce = command['nonce'];
  return ok(command, text.includes('of 5 at once') && is('one-id-for-all') ? 'm0' : post.id);
}

function add(text: string, preview: unknown): Post {
  lastId += 1;
  const post = { id: `m${lastId}`, text, nonce: undefined, preview };
  posts.push(post);
  return post;
}

function change(command: Command): void {
  const at = posts.findIndex((post) => post.id === command['message_id']);
  if (!isText(command['message_id'])) return refuse(command, 'invalid_request');
  if (at < 0 && is(`${command.type.split('_')[0]}-invents`)) return ok(command, 'm0');
  if (at < 0) return refuse(command, 'message_not_found');
  if (command.type === 'delete_message') posts.splice(at, 1);
  return ok(command, String(command['message_id']));
}

function find(command: Command): void {
  const found = posts.find(
    ({ text }) =>
      text === command['content'] ||
      (is('finds-anything') && String(command['content']).includes(text)),
  );
  const { request_id } = command;
  if (found === undefined || is('finds-nothing')) say({ type: 'message_not_found', request_id });
  else say({ type: 'message_found', request_id, message_id: found.id });
}

function act(command: Command): void {
  switch (command.type) {
    case 'configure':
      if (is('dies-of-cursor') && command['cursor'] !== null) process.exit(3);
      return ready();
    case 'ping':
      if (is('no-pong') || (is('strict-fields') && Object.keys(command).length > 2)) return;
      return say({ type: 'pong', request_id: command.request_id });
    case 'ack':
      if (is('never-confirms')) return;
      for (const id of command['event_ids'] as string[]) {
        const names = is('one-event-id') ? sent : [id.replace(/@.*$/, '')];
        for (const name of names) rmSync(path.join(inbox, name), { force: true });
      }
      return;
    case 'send_message':
      return send(command);
    case 'edit_message':
    case 'delete_message':
      return change(command);
    case 'find_message':
      return find(command);
    case 'preview_message': {
      const { preview_id } = command;
      if (is('answers-previews')) ok({ type: '', request_id: String(preview_id) });
      const shown = posts.find((post) => post.preview === preview_id);
      const post = shown ?? add(String(command['content']), preview_id);
      if (shown === undefined) {
        if (is('invents-a-preview')) {
          say({ type: 'preview_posted', preview_id: 'p', message_id: 'm0' });
        }
        say({ type: 'preview_posted', preview_id, message_id: post.id });
      }
      return;
    }
    case 'send_typing':
      if (is('answers-typing')) ok({ type: '', request_id: 'typing' });
      return;
    case 'send_media':
    case 'answer_callback_query':
      return ok(command);
    case 'shutdown':
      if (!is('ignores-shutdown')) end();
      return;
    default:
      if (is('dies-of-unknown-type')) process.exit(3);
  }
}

function ready(): void {
  if (is('never-ready')) return;
  if (is('speaks-before-ready')) say({ type: 'inbound_gap', from: 'a', to: 'b', reason: 'c' });
  if (is('chatty')) process.stdout.write('connected\n');
  const capabilities = 'ack preview edit delete typing inline_keyboard media nonce find'.split(' ');
  if (is('odd-capability')) capabilities.push('telepathy');
  say({
    type: 'ready',
    ...(is('nameless-ready') ? {} : { gateway: 'scripted' }),
    protocol: is('newer-protocol') ? 'v2' : 'v1',
    capabilities,
    limits: { max_length: MAX_LENGTH, length_unit: 'chars' },
  });
  if (is('invalid-event')) say({ type: 'inbound_gap' });
  isReady = true;
}

function end(): void {
  say({ type: 'shutdown', reason: 'asked' });
  if (is('speaks-after-shutdown')) say({ type: 'inbound_gap', from: 'a', to: 'b', reason: 'c' });
  isOver = true;
  if (is('leaves-a-child')) spawn('sleep', ['30'], { stdio: 'inherit' }).unref();
  process.exit(is('ends-with-1') ? 1 : 0);
}

function readInbox(): void {
  if (!isReady || isOver || is('hears-nothing')) return;
  for (const name of readdirSync(inbox)) {
    if (name.startsWith('.') || sent.has(name)) continue;
    sent.add(name);
    const said = readFileSync(path.join(inbox, name), 'utf8');
    const suffix = is('renames-events') ? `@${process.pid}` : '';
    const id = is('one-event-id') ? 'always' : `${name}${suffix}`;
    // Before it is sent, so that no kill comes between.
    if (is('confirms-early')) rmSync(path.join(inbox, name));
    const message = {
      type: 'message_received',
      ...(is('unnamed-events') ? {} : { event_id: id }),
      cursor: name,
      message_id: name,
      chat_id: 'room',
      sender: { id: 'somebody' },
      content: { text: is('mangles-text') ? said.replaceAll(/[^\x20-\x7e]/g, '?') : said },
      routing: {
        chat_type: 'dm',
        chat_id: 'room',
        sender_id: 'somebody',
      },
      timestamp: new Date().toISOString(),
    };
    say(message);
    if (is('repeats-renamed')) say({ ...message, event_id: `${id}@again` });
  }
}

function takeLine(line: string): void {
  if (line.trim() === '') {
    if (is('dies-of-blank')) process.exit(3);
    return;
  }
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    if (is('dies-of-garbage')) process.exit(3);
    if (is('gives-up-on-garbage')) say({ type: 'error', code: 'bad_line', fatal: true });
    return;
  }
  const { type } = (value ?? {}) as { type?: unknown };
  if (typeof type === 'string') act(value as Command);
}

process.stdin.on('data', (chunk: Buffer) => {
  if (is('takes-chunks-for-lines')) {
    for (const line of String(chunk).split('\n')) takeLine(line);
    return;
  }
  kept = Buffer.concat([kept, chunk]);
  for (;;) {
    const at = kept.indexOf('\n');
    if (at < 0) break;
    const line = String(kept.subarray(0, at));
    kept = kept.subarray(at + 1);
    const lines = is('splits-at-u2028') ? line.split('\u2028') : [line];
    if (!isDropping) for (const one of lines) takeLine(one);
    isDropping = false;
    if (is('reads-one-of-many') && String(chunk).split('\n').length > 10) kept = Buffer.alloc(0);
  }
  if (kept.length <= MAX_LINE) return;
  if (is('dies-of-long')) process.exit(3);
  kept = Buffer.alloc(0);
  isDropping = true;
});
process.stdin.on('end', () => {
  if (!is('outlives-stdin')) end();
});
process.stdout.on('error', () => process.exit(1));
setInterval(readInbox, 20);
