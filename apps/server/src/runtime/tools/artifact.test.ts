import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ArtifactOwner, ArtifactRef, ArtifactStore } from '../../ports/artifact-store.ts';
import type { Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';
import { newId } from '../ids.ts';
import { testAgent } from '../testing.ts';
import { artifactTool } from './artifact.ts';

type Kept = { ref: ArtifactRef; bytes: Buffer; owner?: ArtifactOwner };

let kept: Map<string, Kept>;
let workspace: Map<string, Uint8Array>;
let received: Set<string>;
let tool: Tool;
beforeEach(() => {
  kept = new Map();
  workspace = new Map();
  received = new Set();
  tool = artifactTool({
    store: storeOver(kept),
    readWorkspaceFile: async (path) => {
      const bytes = workspace.get(path);
      return bytes ? { ok: true, bytes } : { ok: false, reason: `${path} does not exist` };
    },
    isReceived: async (session, artifact) => received.has(`${session} ${artifact}`),
  });
});

function storeOver(all: Map<string, Kept>): ArtifactStore {
  const refuse = () => Promise.reject(new Error('no agent does that'));
  return {
    take: refuse,
    discard: refuse,
    sweep: refuse,
    async put(content, { owner, ...meta }) {
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece);
      const bytes = Buffer.concat(pieces);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const ref = { ...meta, size: bytes.length, sha256 };
      all.set(meta.id, { ref, bytes, owner });
      return ref;
    },
    async get(id) {
      const found = all.get(id);
      return found ? { ...found, path: `/artifacts/${id}` } : null;
    },
    read: async (id, offset, length) =>
      all.get(id)?.bytes.subarray(offset, offset + length) ?? null,
    list: async (session, limit) =>
      [...all.values()]
        .filter(({ owner }) => owner?.session === session)
        .map(({ ref }) => ref)
        .toReversed()
        .slice(0, limit),
  };
}

const session = newId('session');
function callerOf(change: Partial<ToolCaller> = {}): ToolCaller {
  return { session, turn: newId('turn'), call: newId('call'), agent: testAgent(), ...change };
}
async function run(args: Record<string, unknown>, caller = callerOf()): Promise<ToolResult> {
  const { signal } = new AbortController();
  return tool.run(args, { signal, onOutput: () => undefined, caller });
}
async function save(args: Record<string, unknown>, caller = callerOf()): Promise<string> {
  const { outcome, content } = await run({ action: 'save', ...args }, caller);
  expect(outcome).toBe('ok');
  return /art_\w+/.exec(content)?.[0] ?? '';
}

describe('save', () => {
  it('keeps a text under an id that the call has once and for all', async () => {
    const caller = callerOf();
    const id = await save({ name: 'report.md', content: '# Käse' }, caller);
    expect(await save({ name: 'report.md', content: '# Käse' }, caller)).toBe(id);
    expect([...kept.keys()]).toEqual([id]);
    expect(kept.get(id)).toMatchObject({
      ref: { name: 'report.md', mime: 'text/markdown', size: 7 },
      owner: { agent: 'assistant', session },
    });
    expect((await run({ action: 'save', name: 'a', content: 'x' })).content).toMatch(
      /^Saved: art_\w{26}: a, application\/octet-stream, 1 bytes$/,
    );
  });

  it('keeps a file of the workspace as it was at the first try', async () => {
    const caller = callerOf();
    workspace.set('out/plot.png', Buffer.from([0, 1]));
    const id = await save({ path: 'out/plot.png' }, caller);
    expect(kept.get(id)?.ref).toMatchObject({ name: 'plot.png', mime: 'image/png', size: 2 });
    workspace.clear();
    expect(await save({ path: 'out/plot.png' }, caller)).toBe(id);
    expect(await run({ action: 'save', path: 'out/plot.png' })).toEqual({
      outcome: 'error',
      content: 'The file is not saved: out/plot.png does not exist.',
    });
  });

  it('shows a person the whole of it', () => {
    const planned = tool.plan({ action: 'save', name: 'a.txt', content: 'one\ntwo' }, callerOf());
    expect(planned).toMatchObject({
      policy: { kind: 'builtin', name: 'artifact', action: 'save', harmless: true },
      shown: 'Save as "a.txt":\none\ntwo',
      command: null,
    });
  });
});

describe('list and read', () => {
  it('give what this session saved, and nothing of another one', async () => {
    const first = await save({ name: 'a.txt', content: 'one' });
    const second = await save({ name: 'b.txt', content: 'two' });
    const { content } = await run({ action: 'list' });
    expect(content.split('\n').map((line) => line.split(':')[0])).toEqual([second, first]);
    expect((await run({ action: 'read', id: first })).content).toBe('one');
    const stranger = callerOf({ session: newId('session') });
    expect((await run({ action: 'list' }, stranger)).content).toBe(
      'Nothing was saved in this session.',
    );
    const refused = await run({ action: 'read', id: first }, stranger);
    const unknown = await run({ action: 'read', id: newId('art') }, stranger);
    expect([refused.outcome, unknown.outcome]).toEqual(['error', 'error']);
    expect(refused.content.replace(first, '')).toBe(unknown.content.replace(/art_\w+/, ''));
  });

  it('give a file that a person sent here', async () => {
    const id = newId('art');
    const bytes = Buffer.from('sent');
    const ref = { id, name: 'a.txt', mime: 'text/plain', size: 4, sha256: '' };
    kept.set(id, { ref, bytes });
    expect(await run({ action: 'read', id })).toMatchObject({ outcome: 'error' });
    received.add(`${session} ${id}`);
    expect((await run({ action: 'read', id })).content).toBe('sent');
  });

  it('give a long text piece by piece, each character once', async () => {
    const text = `a${'🧀'.repeat(20_000)}`;
    const id = await save({ name: 'a.txt', content: text });
    let whole = '';
    for (let offset: number | undefined = 0; offset !== undefined;) {
      const { content } = await run({ action: 'read', id, offset });
      expect(Buffer.byteLength(content)).toBeLessThanOrEqual(33 * 1024);
      const next: RegExpExecArray | null = /\n\[bytes .* go on with offset (\d+)\]$/.exec(content);
      whole += next === null ? content : content.slice(0, next.index);
      offset = next === null ? undefined : Number(next[1]);
    }
    expect(whole).toBe(text);
  });

  it.each([[[0x61, 0]], [[0xff, 0xfe]], [[0xc3]]])('say that %j is no text', async (bytes) => {
    workspace.set('x.bin', Uint8Array.from(bytes));
    const id = await save({ path: 'x.bin' });
    const { outcome, content } = await run({ action: 'read', id });
    expect([outcome, content]).toEqual(['error', expect.stringContaining('is not text')]);
  });
});

it.each([
  [{}, /action/],
  [{ action: 'delete' }, /action/],
  [{ action: 'save', name: 'a' }, /either content or path/],
  [{ action: 'save', name: 'a', content: 'x', path: 'y' }, /either content or path/],
  [{ action: 'save', content: 'x' }, /save needs a name/],
  [{ action: 'save', name: '../a', content: 'x' }, /name/],
  [{ action: 'save', name: 'a\nb', content: 'x' }, /name/],
  [{ action: 'save', name: 'a', content: 'x', id: newId('art') }, /save takes no id/],
  [{ action: 'list', id: newId('art') }, /list takes no id/],
  [{ action: 'read' }, /read needs an id/],
  [{ action: 'read', id: '../x' }, /id/],
  [{ action: 'read', id: newId('art'), offset: -1 }, /offset/],
  [{ action: 'list', more: 1 }, /more/],
])('the arguments %j are refused', async (args, fault) => {
  expect(tool.plan(args, callerOf())).toEqual({ fault: expect.stringMatching(fault) });
  expect(await run(args)).toMatchObject({ outcome: 'error' });
  expect(kept.size).toBe(0);
});
