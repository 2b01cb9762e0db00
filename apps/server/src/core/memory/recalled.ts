import { cutToBytes } from '../cut-to-bytes.ts';
import { utf8Length } from '../utf8.ts';
import { escapeText } from './entries.ts';

/** A piece of memory as it is shown to a model. */
export interface Piece {
  /** One line: `2026-11-20 14:03 Preferences`, `world/office`. */
  title: string;
  text: string;
}

/** What one recall gives at most, in bytes. */
export const MAX_RECALL_BYTES = 32 * 1024;
/** What a shared or curated file, of which there may be many, may take of it. */
const MAX_SHARED_PIECE_BYTES = 4 * 1024;
const MAX_SHARED_BYTES = 12 * 1024;
/** A hand may have written more than `remember` takes. */
const MAX_ENTRY_BYTES = 18 * 1024;
/** Room for the words around the pieces. */
const NOTES_BYTES = 1024;

/**
 * What was recalled, as Markdown within `MAX_RECALL_BYTES`: each piece under a heading of its own,
 * which no text of a piece can look like.
 * @param words what was searched for: a piece that is cut shows where they are.
 */
export function recalledText(found: {
  /** Files shared by all, and the agent's own curated one. */
  shared: readonly Piece[];
  /** Newest first. */
  entries: readonly Piece[];
  words: readonly string[];
  /** What the model should know of what is not here; a line each. */
  notes: readonly string[];
}): string {
  const parts: string[] = [];
  const left: string[] = [];
  let room = MAX_RECALL_BYTES - NOTES_BYTES;
  let sharedRoom = MAX_SHARED_BYTES;
  for (const piece of found.shared) {
    const shown = pieceText(piece, found.words, MAX_SHARED_PIECE_BYTES);
    const bytes = utf8Length(shown) + 2;
    if (bytes > sharedRoom) {
      left.push(piece.title);
      continue;
    }
    sharedRoom -= bytes;
    room -= bytes;
    parts.push(shown);
  }
  let entriesLeft = 0;
  for (const piece of found.entries) {
    const shown = pieceText(piece, found.words, MAX_ENTRY_BYTES);
    const bytes = utf8Length(shown) + 2;
    // What is older than the first that does not fit is left out as well: no holes.
    if (entriesLeft > 0 || bytes > room) entriesLeft += 1;
    else {
      room -= bytes;
      parts.push(shown);
    }
  }
  const notes = [...found.notes];
  if (left.length > 0)
    notes.push(`Not shown: ${cutToBytes(left.join(', '), 300)}. Search for them by name.`);
  if (entriesLeft > 0) {
    notes.push(`${entriesLeft} older entries did not fit. Ask for fewer days, or with more words.`);
  }
  if (parts.length === 0) notes.unshift('Nothing was found.');
  const end = notes.map((note) => `[${note}]`).join('\n');
  return [...parts, ...(end === '' ? [] : [cutToBytes(end, NOTES_BYTES)])].join('\n\n');
}

/** The words of a search: at most 16, for `matches`. */
export function searchWords(query: string): string[] {
  return [
    ...new Set(
      folded(query)
        .split(/\s+/)
        .filter((word) => word !== ''),
    ),
  ].slice(0, 16);
}

/** Whether a text holds every word, in whatever case. */
export function matches(text: string, words: readonly string[]): boolean {
  const within = folded(text);
  return words.every((word) => within.includes(word));
}

function pieceText({ title, text }: Piece, words: readonly string[], max: number): string {
  return `## ${cutToBytes(title, 300)}\n\n${excerpt(escapeText(text), words, max)}`;
}

/** A text, or where it is too long the part of it that begins with the line of the first word found. */
function excerpt(text: string, words: readonly string[], max: number): string {
  if (utf8Length(text) <= max) return text;
  const lower = text.toLowerCase();
  const hits = words.map((word) => lower.indexOf(word)).filter((at) => at !== -1);
  const hit = Math.min(...hits, Infinity);
  const line = hit === Infinity ? 0 : text.lastIndexOf('\n', hit) + 1;
  // A line may be longer than all that is shown.
  const from = hit !== Infinity && hit - line > max / 8 ? hit : line;
  const kept = cutToBytes(text.slice(from).toWellFormed(), max - 100);
  const before = from > 0 ? '[…]\n' : '';
  const after = from + kept.length < text.length ? '\n[… the rest is left out]' : '';
  return `${before}${kept}${after}`;
}

function folded(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}
