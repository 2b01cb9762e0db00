import { spawn } from 'node:child_process';
import { appendFileSync, closeSync, existsSync, writeFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * A server of tools that behaves as its first argument says, mostly badly. Run as a process:
 * `node scripted-server.testing.ts BEHAVIOUR [FILE]`. FILE gets a line for each message that comes.
 */
type Message = { id?: number | string; method?: string; params?: Record<string, unknown> };

const [behaviour = 'good', file = ''] = process.argv.slice(2);
const write = (text: string | Buffer, fd = 1): void => {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      // The pipe is full, or nobody reads any more.
      if ((error as { code?: string }).code !== 'EAGAIN') process.exit(3);
    }
  }
};
const say = (message: object): void => write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const note = (text: string): void => {
  if (file !== '') appendFileSync(file, `${text}\n`);
};
const answer = (id: Message['id'], result: object): void => say({ id, result });
const text = (id: Message['id'], content: string): void =>
  answer(id, { content: [{ type: 'text', text: content }] });
const stay = (): void => void setInterval(() => undefined, 1000);

const tool = (name: unknown, more: object = {}): object => ({
  name,
  description: `The tool ${String(name)}`,
  inputSchema: { type: 'object', properties: { text: { type: 'string' } } },
  ...more,
});
let tools: object[] = [tool('echo'), tool('other')];

let onInitialize = (id: Message['id']): void =>
  answer(id, {
    protocolVersion: '2025-11-25',
    capabilities: { tools: { listChanged: true } },
    serverInfo: { name: 'scripted', version: '1' },
  });
let onList = (id: Message['id']): void => answer(id, { tools });
let onCall = (id: Message['id'], args: Record<string, unknown>): void =>
  text(id, `said ${String(args['text'])}`);
let onEnd = (): void => process.exit(0);

const startChild = (): void => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  child.unref();
  note(`child ${child.pid}`);
};

const BIG = 1024 * 1024;
const behaviours: Record<string, () => void> = {
  good: () => undefined,
  'hangs-at-handshake': () => {
    onInitialize = () => undefined;
  },
  'ends-at-once': () => {
    write('cannot find my settings\n', 2);
    process.exit(4);
  },
  'crashes-at-handshake': () => {
    onInitialize = () => process.exit(5);
  },
  'refuses-handshake': () => {
    onInitialize = (id) => say({ id, error: { code: -32_603, message: 'no' } });
  },
  'hangs-at-list': () => {
    onList = () => undefined;
  },
  'hangs-at-first-list': () => {
    const later = onList;
    onList = () => {
      onList = later;
    };
  },
  'hangs-at-call': () => {
    onCall = () => undefined;
  },
  'crashes-at-call': () => {
    onCall = () => {
      write('out of cheese\n', 2);
      process.exit(7);
    };
  },
  /** Only the first life does. */
  'crashes-once': () => {
    const marker = `${file}.crashed`;
    onCall = (id, args) => {
      if (existsSync(marker)) {
        text(id, `said ${String(args['text'])}`);
        return;
      }
      writeFileSync(marker, '');
      process.exit(7);
    };
  },
  'answers-and-ends': () => {
    onCall = (id) => {
      text(id, 'last words');
      process.exit(0);
    };
  },
  'wrong-ids': () => {
    onCall = (id, args) => {
      for (const wrong of [null, 999, 'x', true, -1, '', [], {}]) {
        say({ id: wrong, result: { content: [{ type: 'text', text: 'wrong' }] } });
      }
      say({ result: { content: [{ type: 'text', text: 'wrong' }] } });
      text(id, `said ${String(args['text'])}`);
    };
  },
  'answers-twice': () => {
    onCall = (id, args) => {
      text(id, `said ${String(args['text'])}`);
      text(id, 'again');
    };
  },
  'invalid-json': () => {
    onCall = (id) => write(`{"jsonrpc":"2.0","id":${String(id)},"result":{"content":[}\n`);
  },
  'no-answer-at-all': () => {
    onCall = (id) => say({ id, result: 'text' });
  },
  'odd-results': () => {
    onCall = (id, args) => answer(id, JSON.parse(String(args['text'])) as object);
  },
  'error-answer': () => {
    onCall = (id) => say({ id, error: { code: -32_602, message: 'text is needed' } });
  },
  'huge-result': () => {
    onCall = (id) => text(id, 'ä'.repeat(2 * BIG));
  },
  'too-huge-result': () => {
    onCall = (id) => text(id, 'x'.repeat(20 * BIG));
  },
  'deep-result': () => {
    onCall = (id) => {
      const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`;
      write(`{"jsonrpc":"2.0","id":${String(id)},"result":{"content":[],"deep":${deep}}}\n`);
    };
  },
  'talks-between': () => {
    write('Welcome!\n\n');
    onCall = (id, args) => {
      write('thinking…\r\n');
      write(Buffer.from([0xff, 0xfe, 0x0a]));
      write('{"half": \n[1]\nnull\n"x"\n');
      text(id, `said ${String(args['text'])}`);
    };
  },
  'byte-by-byte': () => {
    onCall = (id, args) => {
      const content = [{ type: 'text', text: `said ${String(args['text'])} ✓` }];
      const line = Buffer.from(
        `${JSON.stringify({ jsonrpc: '2.0', id, result: { content } })}\r\n`,
      );
      for (const byte of line) write(Buffer.from([byte]));
    };
  },
  'half-a-line-and-ends': () => {
    onCall = (id) => {
      write(`{"jsonrpc":"2.0","id":${String(id)},"resu`);
      process.exit(0);
    };
  },
  'floods-notifications': () => {
    onCall = () => {
      const lines = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } })}\n`;
      for (;;) write(lines.repeat(1000));
    };
  },
  'floods-text': () => {
    onCall = () => {
      for (;;) write('Lorem ipsum dolor sit amet\n'.repeat(1000));
    };
  },
  'floods-one-line': () => {
    onCall = () => {
      // Then it ends by itself: a line without an end says nothing.
      for (let at = 0; at < 300; at += 1) write('x'.repeat(BIG));
      process.exit(0);
    };
  },
  'floods-long-lines': () => {
    onCall = () => {
      for (;;) write(`${'x'.repeat(16 * BIG)}\n`);
    };
  },
  'floods-stderr': () => {
    onCall = (id, args) => {
      for (let at = 0; at < 100; at += 1) write('secret-of-the-operator oops\n'.repeat(2000), 2);
      text(id, `said ${String(args['text'])}`);
    };
  },
  'floods-requests': () => {
    onCall = () => {
      process.stdin.pause();
      for (let id = 0; ; id += 1) say({ id, method: 'ping' });
    };
  },
  'asks-us': () => {
    onCall = (id, args) => {
      say({ id: 'q1', method: 'ping' });
      say({ id: 'q2', method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } });
      say({ id: 'q3', method: 'roots/list' });
      say({ id: 'q4', method: 'x'.repeat(300) });
      text(id, `said ${String(args['text'])}`);
    };
  },
  'reports-progress': () => {
    onCall = () => undefined;
  },
  'changes-tools': () => {
    onCall = (id) => {
      tools = [tool('echo', { description: 'Now it does something else' }), tool('new')];
      say({ method: 'notifications/tools/list_changed' });
      text(id, 'changed');
    };
  },
  /** Each life describes its tool differently. */
  'changes-when-restarted': () => {
    tools = [tool('echo', { description: `Life ${process.pid}` })];
    onCall = (id) => {
      text(id, 'gone');
      process.exit(0);
    };
  },
  'bad-tools': () => {
    tools = [
      tool('good'),
      tool('has space'),
      tool(''),
      tool(7),
      tool('x'.repeat(65)),
      tool('../../etc'),
      tool('good', { description: 'a second one' }),
      tool('no-schema', { inputSchema: 'any' }),
      tool('array-schema', { inputSchema: { type: 'array' } }),
      tool('__proto__'),
      tool('hints', { annotations: { readOnlyHint: true, idempotentHint: true } }),
      tool('lies', { annotations: { readOnlyHint: 'yes' }, description: { toString: 1 } }),
      tool('large', { description: 'x'.repeat(300_000) }),
      null as unknown as object,
      tool('last'),
    ];
  },
  'many-tools': () => {
    onList = (id) => answer(id, { tools: Array.from({ length: 500 }, (_, n) => tool(`t${n}`)) });
  },
  'endless-pages': () => {
    let page = 0;
    onList = (id) => {
      page += 1;
      note(`page ${page}`);
      answer(id, { tools: [], nextCursor: `page-${page}` });
    };
  },
  stubborn: () => {
    process.on('SIGTERM', () => undefined);
    onEnd = stay;
    startChild();
  },
  'leaves-a-child': () => startChild(),
  'closes-stdout': () => {
    onCall = () => {
      closeSync(1);
      stay();
    };
  },
  'does-not-read': () => {
    onCall = () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
};

behaviours[behaviour]?.();
note(`started ${process.pid}`);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { id, method, params } = JSON.parse(line) as Message;
  note(`${method ?? 'answer'} ${JSON.stringify(params ?? JSON.parse(line))}`);
  if (method === 'initialize') onInitialize(id);
  else if (method === 'tools/list') onList(id);
  else if (method === 'tools/call') {
    const args = (params?.['arguments'] ?? {}) as Record<string, unknown>;
    if (behaviour === 'reports-progress') {
      const meta = params?.['_meta'] as { progressToken: unknown };
      let progress = 0;
      setInterval(() => {
        progress += 1;
        const said = { progressToken: meta.progressToken, progress, message: 'still at it' };
        say({ method: 'notifications/progress', params: said });
      }, 20);
    }
    onCall(id, args);
  }
});
lines.on('close', () => onEnd());
