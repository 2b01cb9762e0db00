import type { ServerTool } from '../../ports/tool-server.ts';
import { isObject, member } from './json-values.ts';
import type { ToolServerLimits } from './limits.ts';

const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
/** More than these are not even counted. */
const MAX_NOTES = 20;

/** Collects what a server lists, page by page, and leaves out what cannot be offered. */
export class ToolList {
  readonly tools: ServerTool[] = [];
  readonly #limits: Pick<ToolServerLimits, 'maxTools' | 'maxToolBytes'>;
  readonly #names = new Set<string>();
  readonly #notes: string[] = [];
  #bytes = 0;
  #isFull = false;

  constructor(limits: Pick<ToolServerLimits, 'maxTools' | 'maxToolBytes'>) {
    this.#limits = limits;
  }

  /** Whether no more tools are taken. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** What was left out or replaced, in words. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  add(entries: readonly unknown[]): void {
    for (const entry of entries) {
      if (this.#isFull) return;
      this.#addOne(entry);
    }
  }

  #addOne(entry: unknown): void {
    const name = member(entry, 'name');
    if (typeof name !== 'string' || !NAME.test(name)) {
      const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : 'without a name';
      this.#note(`a tool ${shown} is left out: a name is 1 to 64 of A-Z a-z 0-9 _ . -`);
      return;
    }
    if (this.#names.has(name)) {
      this.#note(`a second tool "${name}" is left out`);
      return;
    }
    const description = member(entry, 'description');
    const annotations = member(entry, 'annotations');
    const tool: ServerTool = {
      name,
      description: typeof description === 'string' ? description.toWellFormed() : '',
      parameters: this.#parametersOf(member(entry, 'inputSchema'), name),
      readOnly: member(annotations, 'readOnlyHint') === true,
      idempotent: member(annotations, 'idempotentHint') === true,
    };
    const bytes = Buffer.byteLength(JSON.stringify(tool));
    const { maxTools, maxToolBytes } = this.#limits;
    if (this.tools.length >= maxTools) {
      this.#isFull = true;
      this.#note(`only the first ${maxTools} tools are offered`);
      return;
    }
    if (this.#bytes + bytes > maxToolBytes) {
      this.#note(`"${name}" is left out: all descriptions together may take ${maxToolBytes} bytes`);
      return;
    }
    this.#bytes += bytes;
    this.#names.add(name);
    this.tools.push(tool);
  }

  #parametersOf(schema: unknown, name: string): Record<string, unknown> {
    if (isObject(schema) && schema['type'] === 'object') return schema;
    this.#note(`the parameters of "${name}" are no schema of an object: any object is taken`);
    return { type: 'object' };
  }

  #note(text: string): void {
    if (this.#notes.length < MAX_NOTES) this.#notes.push(text);
  }
}
