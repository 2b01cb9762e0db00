import { DuragentError, namePattern } from '@duragent/protocol';
import { z } from 'zod';
import { daysBefore, localDay } from '../../core/local-day.ts';
import { MAX_CURATED_BYTES, memoryDirective } from '../../core/memory/directive.ts';
import {
  addEntry,
  hasCall,
  parseEntries,
  textWithoutTag,
  tidyText,
  withTag,
  type EntryTag,
  type MemoryEntry,
} from '../../core/memory/entries.ts';
import {
  MAX_RECALL_BYTES,
  matches,
  recalledText,
  searchWords,
  type Piece,
} from '../../core/memory/recalled.ts';
import { utf8Length } from '../../core/utf8.ts';
import type { Clock } from '../../ports/clock.ts';
import type { MemoryFile, MemoryStore } from '../../ports/memory-store.ts';
import type { Tool, ToolCaller } from '../../ports/tool.ts';
import { typedTool } from './typed-tool.ts';

export interface MemoryToolsOptions {
  store: MemoryStore;
  clock: Clock;
  /** IANA; null: the system's. Asked at every call, because a reload may change it. */
  timezone(): string | null;
}

/** How long one note, and what is known of one topic, may be, in bytes. */
const MAX_TEXT_BYTES = 16 * 1024;
const DEFAULT_DAYS = 7;
/** How far back one search reads. */
const MAX_DAY_FILES = 400;
const MAX_BYTES_READ = 32 * 1024 * 1024;
const MAX_ENTRIES = 100;
const MAX_TOPICS = 1000;

/** The four tools of `{ type: builtin, name: memory }`. */
export function memoryTools(options: MemoryToolsOptions): Tool[] {
  return [recallTool(options), rememberTool(options), reflectTool(options), worldTool(options)];
}

/** What the system prompt says of an agent's memory, as its files are now. A file that cannot be read is told of in it. */
export async function readMemoryDirective(store: MemoryStore, agent: string): Promise<string> {
  try {
    return memoryDirective(await store.read({ kind: 'curated', agent }));
  } catch (error) {
    if (!(error instanceof DuragentError)) throw error;
    return memoryDirective(`[MEMORY.md cannot be read now: tell the person whom you work for.]`);
  }
}

const textSchema = (max: number) =>
  z
    .string()
    .refine((text) => tidyText(text) !== '', 'the text is empty')
    .refine(
      (text) => utf8Length(text) <= max,
      `the text is longer than ${max / 1024} KiB; shorten it`,
    );
/** One line. */
const sectionSchema = z
  .string()
  .max(80)
  .regex(/^[^\p{Cc}\u2028\u2029]*$/u, 'a section is one line');

const recallSchema = z.strictObject({
  query: z
    .string()
    .max(500)
    .describe('Words that a note must hold, all of them, in any case.')
    .optional(),
  days: z.int().min(1).max(3650).describe('How many days back, today included.').optional(),
});

function recallTool({ store, clock, timezone }: MemoryToolsOptions): Tool {
  return typedTool({
    name: 'recall',
    description: `Finds what you noted earlier, newest first: by words, by days, or both; without either, the last ${DEFAULT_DAYS} days. Also finds your notes of this session and what all agents here know.`,
    schema: recallSchema,
    builtin: 'memory',
    action: () => 'recall',
    harmless: () => true,
    shown: ({ query, days }) =>
      `Recall notes${query === undefined ? '' : ` with ${JSON.stringify(query)}`}${days === undefined ? '' : ` of ${days} days`}`,
    effect: 'pure',
    onInterrupt: 'retry',
    async run({ query, days }, { signal, caller }) {
      const { day: today } = localDay(clock.now(), timezone());
      const wanted = searchWords(query ?? '');
      const span = days ?? (wanted.length === 0 ? DEFAULT_DAYS : null);
      const recall = new Recall(store, wanted, caller, signal);
      await recall.readSession();
      await recall.readDays(span === null ? null : daysBefore(today, span - 1));
      await recall.readShared();
      return { outcome: 'ok', content: recall.text() };
    },
  });
}

/** One look into memory. A file that cannot be read hides none of the others. */
class Recall {
  readonly #store: MemoryStore;
  readonly #words: readonly string[];
  readonly #caller: ToolCaller;
  readonly #signal: AbortSignal;
  readonly #entries: Piece[] = [];
  readonly #shared: Piece[] = [];
  readonly #notes: string[] = [];
  #bytesRead = 0;
  #bytesFound = 0;

  constructor(
    store: MemoryStore,
    searched: readonly string[],
    caller: ToolCaller,
    signal: AbortSignal,
  ) {
    this.#store = store;
    this.#words = searched;
    this.#caller = caller;
    this.#signal = signal;
  }

  text(): string {
    return recalledText({
      shared: this.#shared,
      entries: this.#entries,
      words: this.#words,
      notes: this.#notes,
    });
  }

  async readSession(): Promise<void> {
    const file = await this.#read(
      { kind: 'session', session: this.#caller.session },
      'notes of this session',
    );
    if (file !== null) this.#addEntries(file, () => 'this session');
  }

  /** @param oldest the first day that is looked at; null: all. */
  async readDays(oldest: string | null): Promise<void> {
    const all = await this.#store.days();
    const days = oldest === null ? all : all.filter((day) => day >= oldest);
    for (const [index, day] of days.entries()) {
      const isFull = this.#bytesFound > MAX_RECALL_BYTES || this.#entries.length >= MAX_ENTRIES;
      if (isFull || index >= MAX_DAY_FILES || this.#bytesRead >= MAX_BYTES_READ) {
        this.#notes.push(`Notes of ${day} and before were not looked at.`);
        return;
      }
      const file = await this.#read({ kind: 'day', day }, `memory of ${day}`);
      if (file !== null) this.#addEntries(file, ({ time }) => `${day} ${time}`.trim());
    }
  }

  async readShared(): Promise<void> {
    const { agent } = this.#caller;
    // It is in the prompt: only what is searched for may be in the part that is not.
    if (this.#words.length > 0) {
      const curated = await this.#read({ kind: 'curated', agent: agent.name }, 'MEMORY.md');
      if (curated !== null) this.#addShared('MEMORY.md', textWithoutTag(curated) ?? '');
    }
    for (const topic of (await this.#store.topics()).slice(0, MAX_TOPICS)) {
      if (this.#bytesRead >= 2 * MAX_BYTES_READ) {
        this.#notes.push(`Topics from ${topic} on were not looked at.`);
        return;
      }
      const file = await this.#read({ kind: 'world', topic }, `world/${topic}`);
      const text = file === null ? null : textWithoutTag(file);
      if (text !== null) this.#addShared(`world/${topic}`, text);
    }
  }

  async #read(file: MemoryFile, name: string): Promise<string | null> {
    this.#signal.throwIfAborted();
    try {
      const text = await this.#store.read(file);
      this.#bytesRead += text?.length ?? 0;
      return text;
    } catch (error) {
      if (!(error instanceof DuragentError)) throw error;
      this.#notes.push(`The ${name} cannot be read now.`);
      return null;
    }
  }

  #addEntries(file: string, placeOf: (entry: MemoryEntry) => string): void {
    for (const entry of parseEntries(file).toReversed()) {
      // What a person wrote without a tag is for every agent.
      if (entry.tag !== null && entry.tag.agent !== this.#caller.agent.name) continue;
      if (entry.text === '' || !matches(`${entry.section}\n${entry.text}`, this.#words)) continue;
      const title = `${placeOf(entry)} ${entry.section}`.trim();
      this.#entries.push({ title, text: entry.text });
      this.#bytesFound += entry.text.length;
    }
  }

  #addShared(title: string, text: string): void {
    if (matches(`${title}\n${text}`, this.#words)) this.#shared.push({ title, text });
  }
}

const rememberSchema = z.strictObject({
  text: textSchema(MAX_TEXT_BYTES).describe(
    'What to remember, so that it can be understood alone.',
  ),
  section: sectionSchema.describe('What it is about, in a few words.').optional(),
  keep_for: z
    .enum(['agent', 'session'])
    .default('agent')
    .describe('agent: for all your conversations. session: for this one only.'),
});

function rememberTool({ store, clock, timezone }: MemoryToolsOptions): Tool {
  return typedTool({
    name: 'remember',
    description: 'Adds a note to your memory, under today. Only you will recall it.',
    schema: rememberSchema,
    builtin: 'memory',
    action: () => 'remember',
    harmless: () => true,
    shown: ({ text, section, keep_for }) =>
      `Remember for ${keep_for === 'session' ? 'this session' : 'all sessions'}${section ? ` (${section})` : ''}:\n${text}`,
    isTrusted: true,
    effect: 'idempotent',
    onInterrupt: 'retry',
    async run(args, { caller }) {
      const { day, time } = localDay(clock.now(), timezone());
      const tag = tagOf(caller);
      const entry = { time, section: args.section?.trim() ?? '', tag, text: tidyText(args.text) };
      if (args.keep_for === 'session') {
        // Its notes may span days.
        const dated = { ...entry, time: '', section: `${day} ${time} ${entry.section}`.trim() };
        await store.update({ kind: 'session', session: caller.session }, (file) =>
          addEntry(file, 'Working notes of this session', dated),
        );
      } else if (!(await wroteBefore(store, day, tag.call))) {
        await store.update({ kind: 'day', day }, (file) => addEntry(file, day, entry));
      }
      return { outcome: 'ok', content: 'Remembered.' };
    },
  });
}

/** A call that is run again after a restart may have written under an earlier day. */
async function wroteBefore(store: MemoryStore, today: string, call: string): Promise<boolean> {
  const earlier = (await store.days()).filter((day) => day !== today).slice(0, 2);
  for (const day of earlier) {
    try {
      if (hasCall((await store.read({ kind: 'day', day })) ?? '', call)) return true;
    } catch (error) {
      // A day that a hand has broken keeps nobody from noting something today.
      if (!(error instanceof DuragentError)) throw error;
    }
  }
  return false;
}

const reflectSchema = z.strictObject({
  text: textSchema(MAX_CURATED_BYTES).describe('The whole new MEMORY.md, in Markdown.'),
});

function reflectTool({ store }: MemoryToolsOptions): Tool {
  return typedTool({
    name: 'reflect',
    description:
      'Replaces your MEMORY.md, which you see in every conversation, by what you make of it and of your notes. What you do not write again is gone from it.',
    schema: reflectSchema,
    builtin: 'memory',
    action: () => 'reflect',
    harmless: () => true,
    shown: ({ text }) => `Replace MEMORY.md by:\n${text}`,
    isTrusted: true,
    // It goes into every later prompt.
    writesTrusted: () => true,
    effect: 'idempotent',
    onInterrupt: 'retry',
    async run({ text }, { caller }) {
      await store.update({ kind: 'curated', agent: caller.agent.name }, (file) => {
        if (utf8Length(file ?? '') <= MAX_CURATED_BYTES + 1) return `${tidyText(text)}\n`;
        throw new DuragentError(
          'conflict',
          'MEMORY.md is longer than you see of it, so nothing was replaced: ask a person to shorten it.',
        );
      });
      return { outcome: 'ok', content: 'MEMORY.md is replaced.' };
    },
  });
}

const worldSchema = z.strictObject({
  topic: z
    .string()
    .regex(namePattern, 'a topic is 1 to 63 of a-z, 0-9 and "-"')
    .describe('What it is about, such as "office".'),
  text: textSchema(MAX_TEXT_BYTES).describe('All that is known of it, in Markdown.'),
});

function worldTool({ store }: MemoryToolsOptions): Tool {
  return typedTool({
    name: 'update_world',
    description:
      'Replaces what all agents here know of a topic. Recall it first: what you do not write again is gone.',
    schema: worldSchema,
    builtin: 'memory',
    action: () => 'update_world',
    // Other agents believe what it says.
    harmless: () => false,
    shown: ({ topic, text }) => `Replace what all agents know of ${topic} by:\n${text}`,
    isTrusted: true,
    writesTrusted: () => true,
    effect: 'idempotent',
    onInterrupt: 'retry',
    async run({ topic, text }, { caller }) {
      const topics = await store.topics();
      if (topics.length >= MAX_TOPICS && !topics.includes(topic)) {
        const content = `There are ${MAX_TOPICS} topics, which is the most: use one of them.`;
        return { outcome: 'error', content };
      }
      await store.update({ kind: 'world', topic }, () => withTag(tidyText(text), tagOf(caller)));
      return { outcome: 'ok', content: `What is known of ${topic} is replaced.` };
    },
  });
}

function tagOf({ agent, session, call }: ToolCaller): EntryTag {
  return { agent: agent.name, session, call };
}
