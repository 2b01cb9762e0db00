import { Worker } from 'node:worker_threads';
import { htmlToMarkdown } from './html-to-markdown.ts';

// The entry of the process that reads one page and ends: see html-reader.ts.

/** What the process is sent, once. */
export interface HtmlTask {
  html: string;
  url: string;
  /** The longest text that is sent back, in UTF-16 units. */
  maxLength: number;
}

/** What it sends back, once. */
export type HtmlAnswer =
  | { ok: true; title: string | null; text: string; truncated: boolean }
  | { ok: false; reason: string };

/** Longer than the server waits: it counts only where the server was killed and cannot end this. */
const MAX_LIFE_MS = 30_000;

// A thread of its own, as a page that hangs the parser hangs every timer of this one.
const watchdog = `setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${MAX_LIFE_MS})`;
new Worker(watchdog, { eval: true }).unref();

process.once('message', (task: HtmlTask) => {
  process.send?.(answer(task));
});

function answer({ html, url, maxLength }: HtmlTask): HtmlAnswer {
  try {
    const { title, markdown } = htmlToMarkdown(html, url);
    const truncated = markdown.length > maxLength;
    return { ok: true, title, text: markdown.slice(0, maxLength).toWellFormed(), truncated };
  } catch (error) {
    // Its recursion met a page of too many levels.
    if (error instanceof RangeError) return { ok: false, reason: 'it is nested too deep' };
    return { ok: false, reason: error instanceof Error ? error.message.slice(0, 200) : 'unknown' };
  }
}
