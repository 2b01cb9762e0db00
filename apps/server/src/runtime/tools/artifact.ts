import { z } from 'zod';
import { idPattern } from '@duragent/protocol';
import {
  MAX_MADE_ARTIFACT_BYTES,
  type ArtifactRef,
  type ArtifactStore,
  type ReadWorkspaceFile,
} from '../../ports/artifact-store.ts';
import type { Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';
import { typedTool } from './typed-tool.ts';

export interface ArtifactToolOptions {
  store: ArtifactStore;
  readWorkspaceFile: ReadWorkspaceFile;
  /** Whether a person sent this artifact in this session. */
  isReceived(session: string, artifact: string): Promise<boolean>;
}

const MAX_CONTENT_CHARS = 512 * 1024;
/** What one read gives at most, in bytes. */
const MAX_READ_BYTES = 32 * 1024;
const MAX_LISTED = 50;

const artifactSchema = z
  .strictObject({
    action: z.enum(['save', 'list', 'read']),
    name: z
      .string()
      .min(1)
      .max(255)
      .regex(/^[^/\\\p{Cc}\u2028\u2029]+$/u, 'a name is one line without "/" and "\\"')
      .describe('save: the file name that people see, such as "report.md".')
      .optional(),
    content: z
      .string()
      .max(MAX_CONTENT_CHARS)
      .describe('save: the text of the file. Either this or path.')
      .optional(),
    path: z
      .string()
      .min(1)
      .max(4096)
      .describe('save: a file of the workspace. Either this or content.')
      .optional(),
    id: z
      .string()
      .regex(idPattern('art'), 'expected an id such as art_…, as list gives it')
      .describe('read: which artifact.')
      .optional(),
    offset: z.int().min(0).describe('read: the byte to begin with.').optional(),
  })
  .superRefine((args, context) => {
    const given = Object.keys(args).filter((key) => args[key as keyof typeof args] !== undefined);
    const fault = (message: string): void => context.addIssue({ code: 'custom', message });
    const allowed = FIELDS[args.action];
    const surplus = given.filter((key) => key !== 'action' && !allowed.includes(key));
    if (surplus.length > 0) fault(`${args.action} takes no ${surplus.join(', ')}`);
    if (args.action === 'read' && args.id === undefined) fault('read needs an id');
    if (args.action !== 'save') return;
    if ((args.content === undefined) === (args.path === undefined)) {
      fault('save needs either content or path');
    }
    if (args.name === undefined && args.path === undefined) fault('save needs a name');
  });
const FIELDS: Readonly<Record<'save' | 'list' | 'read', readonly string[]>> = {
  save: ['name', 'content', 'path'],
  list: [],
  read: ['id', 'offset'],
};
type Args = z.infer<typeof artifactSchema>;

/** Keeps files of a session: what the agent saves, and what people sent. */
export function artifactTool(options: ArtifactToolOptions): Tool {
  return typedTool({
    name: 'artifact',
    description:
      'Files that are kept with this session. save: keeps a text, or a file of the workspace, and gives its id. list: what was saved in this session, newest first. read: the text of one of these, or of a file that a person sent.',
    schema: artifactSchema,
    builtin: 'artifact',
    action: ({ action }) => action,
    harmless: () => true,
    shown,
    effect: 'idempotent',
    onInterrupt: 'retry',
    async run(args, { caller }) {
      switch (args.action) {
        case 'save':
          return save(options, args, caller);
        case 'list':
          return list(options.store, caller);
        case 'read':
          return read(options, args, caller);
      }
    },
  });
}

function shown({ action, name, content, path, id, offset }: Args): string {
  switch (action) {
    case 'save':
      return path === undefined
        ? `Save as ${JSON.stringify(name)}:\n${content ?? ''}`
        : `Save the file ${JSON.stringify(path)}${name === undefined ? '' : ` as ${JSON.stringify(name)}`}`;
    case 'list':
      return 'List the artifacts of this session';
    case 'read':
      return `Read the artifact ${id ?? ''}${offset === undefined ? '' : ` from byte ${offset} on`}`;
  }
}

async function save(
  { store, readWorkspaceFile }: ArtifactToolOptions,
  args: Args,
  caller: ToolCaller,
): Promise<ToolResult> {
  const id = artifactOf(caller.call);
  // Where this call was made before: a file of the workspace may have changed since.
  const kept = await store.get(id);
  if (kept !== null) return saved(kept.ref);
  const found =
    args.path === undefined
      ? { ok: true as const, bytes: new TextEncoder().encode(args.content ?? '') }
      : await readWorkspaceFile(args.path, { maxBytes: MAX_MADE_ARTIFACT_BYTES });
  if (!found.ok) return { outcome: 'error', content: `The file is not saved: ${found.reason}.` };
  const name = args.name ?? baseName(args.path ?? '');
  const owner = { agent: caller.agent.name, session: caller.session };
  return saved(await store.put([found.bytes], { id, name, mime: mimeOf(name), owner }));
}

function saved(ref: ArtifactRef): ToolResult {
  const { id, name, mime, size } = ref;
  return { outcome: 'ok', content: `Saved: ${describe(ref)}`, details: { id, name, mime, size } };
}

async function list(store: ArtifactStore, caller: ToolCaller): Promise<ToolResult> {
  const refs = await store.list(caller.session, MAX_LISTED + 1);
  if (refs.length === 0) return { outcome: 'ok', content: 'Nothing was saved in this session.' };
  const lines = refs.slice(0, MAX_LISTED).map(describe);
  if (refs.length > MAX_LISTED) lines.push(`[Older ones are not listed.]`);
  return { outcome: 'ok', content: lines.join('\n') };
}

async function read(
  { store, isReceived }: ArtifactToolOptions,
  { id = '', offset = 0 }: Args,
  caller: ToolCaller,
): Promise<ToolResult> {
  const found = await store.get(id);
  const mayRead =
    found !== null &&
    (found.owner?.session === caller.session || (await isReceived(caller.session, id)));
  // Whether another session has one is no business of this one.
  if (!mayRead) {
    return { outcome: 'error', content: `This session has no artifact ${id}; use list.` };
  }
  const bytes = await store.read(id, offset, MAX_READ_BYTES);
  const isEnd = offset + (bytes?.length ?? 0) >= found.ref.size;
  const text = bytes === null ? null : decode(bytes, isEnd);
  if (text === null) {
    return { outcome: 'error', content: `${describe(found.ref)} is not text: it cannot be read.` };
  }
  if (isEnd) return { outcome: 'ok', content: text.text === '' ? '[empty]' : text.text };
  const next = offset + text.bytes;
  const note = `[bytes ${offset} to ${next} of ${found.ref.size}; go on with offset ${next}]`;
  return { outcome: 'ok', content: `${text.text}\n${note}` };
}

/** A call saves one artifact: saving it again finds it by its id. */
function artifactOf(call: string): string {
  return call.replace(/^call_/, 'art_');
}

function describe({ id, name, mime, size }: ArtifactRef): string {
  return `${id}: ${name}, ${mime}, ${size} bytes`;
}

/** Bytes as text, and how many of them it is: a character that the end cuts is left for the next read. Null: no text. */
function decode(bytes: Uint8Array, isEnd: boolean): { text: string; bytes: number } | null {
  if (bytes.includes(0)) return null;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, {
      stream: !isEnd,
    });
    return { text, bytes: new TextEncoder().encode(text).length };
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

function baseName(path: string): string {
  const name = path.split('/').findLast((part) => part !== '') ?? 'file';
  return name
    .replace(/[\\\p{Cc}\u2028\u2029]/gu, '_')
    .slice(0, 255)
    .toWellFormed();
}

const MIMES: Readonly<Record<string, string>> = {
  csv: 'text/csv',
  gif: 'image/gif',
  htm: 'text/html',
  html: 'text/html',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  json: 'application/json',
  md: 'text/markdown',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain',
  webp: 'image/webp',
  xml: 'application/xml',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  zip: 'application/zip',
};

function mimeOf(name: string): string {
  const ending = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(MIMES, ending) ? (MIMES[ending] ?? '') : 'application/octet-stream';
}
