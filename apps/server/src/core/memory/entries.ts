/** Whose words an entry holds. */
export interface EntryTag {
  agent: string;
  session: string;
  /** The tool call that wrote it: writing it again changes nothing. */
  call: string;
}

/** A section of a file of memory. */
export interface MemoryEntry {
  /** `14:03`, of the configured time zone; empty where a person wrote a heading without one. */
  time: string;
  /** What it is about, one line; may be empty. */
  section: string;
  /** null: a person wrote it. */
  tag: EntryTag | null;
  text: string;
}

/**
 * Adds an entry at the end of a file of memory; all that is there stays as it is.
 * @param title heads a file that is new: its day, or what it is for.
 * @param entry its text is what `tidyText` made of it.
 * @returns the same text where the entry's call wrote to it before.
 */
export function addEntry(
  file: string | null,
  title: string,
  entry: MemoryEntry & { tag: EntryTag },
): string {
  if (file !== null && hasCall(file, entry.tag.call)) return file;
  const before = file === null || file.trim() === '' ? `# ${title}\n` : file;
  const heading = ['##', entry.time, entry.section].filter((part) => part !== '').join(' ');
  const gap = before.endsWith('\n\n') ? '' : before.endsWith('\n') ? '\n' : '\n\n';
  return `${before}${gap}${heading}\n${tagLine(entry.tag)}\n\n${escapeText(entry.text)}\n`;
}

/** Whether a call wrote an entry of this file. */
export function hasCall(file: string, call: string): boolean {
  return (
    file.includes(` call=${call} `) && parseEntries(file).some((each) => each.tag?.call === call)
  );
}

/** The entries of a file of memory, oldest first. Any text is one: what a person wrote is an entry without a tag. */
export function parseEntries(file: string): MemoryEntry[] {
  const lines = withPlainLineEnds(file).split('\n');
  if (lines[0]?.startsWith('# ')) lines.shift();
  const starts = lines.flatMap((line, index) => (HEADING.test(line) ? [index] : []));
  const entries: MemoryEntry[] = [];
  const preamble = tidyEnds(lines.slice(0, starts[0] ?? lines.length));
  if (preamble !== '') entries.push({ time: '', section: '', tag: null, text: preamble });
  for (const [index, start] of starts.entries()) {
    const heading = (lines[start] ?? '').slice(2).trim();
    const time = /^\d{2}:\d{2}(?= |$)/.exec(heading)?.[0] ?? '';
    const tag = readTag(lines[start + 1] ?? '');
    const body = lines.slice(start + (tag === null ? 1 : 2), starts[index + 1]);
    entries.push({
      time,
      section: heading.slice(time.length).trim(),
      tag,
      text: tidyEnds(body.map(unescapeLine)),
    });
  }
  return entries;
}

/**
 * A file of memory with the entries that one agent recalls, and as it is otherwise; null where there
 * are none.
 */
export function entriesOf(file: string, agent: string): string | null {
  const lines = withPlainLineEnds(file).split('\n');
  let isKept = true;
  const kept = lines.filter((line, index) => {
    if (HEADING.test(line)) {
      const tag = readTag(lines[index + 1] ?? '');
      isKept = tag === null || tag.agent === agent;
    }
    return isKept;
  });
  const text = kept.join('\n');
  return parseEntries(text).length === 0 ? null : text;
}

/** A shared file as `update_world` leaves it: its text, and whose it is. */
export function withTag(text: string, tag: EntryTag): string {
  return `${tagLine(tag)}\n\n${text}\n`;
}

/** The text of a shared file; null: it holds none. */
export function textWithoutTag(file: string): string | null {
  const lines = withPlainLineEnds(file).split('\n');
  const text = tidyEnds(readTag(lines[0] ?? '') === null ? lines : lines.slice(1));
  return text === '' ? null : text;
}

/**
 * A text as it is kept: well-formed, with LF as its line end, without other control characters, and
 * without empty lines around it. Tidying it again changes nothing.
 */
export function tidyText(text: string): string {
  const plain = withPlainLineEnds(text.toWellFormed()).replace(/[^\P{Cc}\n\t]|\ufeff/gu, '');
  return tidyEnds(plain.split(/[\n\u2028\u2029]/));
}

/**
 * A text in which no line can be taken for the start of an entry or for a tag; `parseEntries` takes
 * back what this adds.
 */
export function escapeText(text: string): string {
  return text
    .split('\n')
    .map((line) => line.replace(RESERVED, '$1\\$2$3'))
    .join('\n');
}

/** Begins an entry. */
const HEADING = /^##(?:[ \t]|$)/;
/** A line that Markdown would take for a heading of a file or an entry, or for a comment, however often it is escaped. */
const RESERVED = /^( {0,3})(\\*)(#{1,2}(?:[ \t]|$)|<!--)/;
const ESCAPED = /^( {0,3})\\(\\*)(#{1,2}(?:[ \t]|$)|<!--)/;
const TAG =
  /^<!-- duragent agent=([a-z0-9][a-z0-9-]{0,62}) session=(session_[0-9a-z]{26}) call=(call_[0-9a-z]{26}) -->$/;

function tagLine({ agent, session, call }: EntryTag): string {
  const line = `<!-- duragent agent=${agent} session=${session} call=${call} -->`;
  // An entry whose tag cannot be read again would be everybody's.
  if (readTag(line) === null) throw new TypeError(`this is no tag of an entry: ${line}`);
  return line;
}

function readTag(line: string): EntryTag | null {
  const [, agent, session, call] = TAG.exec(line.trimEnd()) ?? [];
  if (agent === undefined || session === undefined || call === undefined) return null;
  return { agent, session, call };
}

function unescapeLine(line: string): string {
  return line.replace(ESCAPED, '$1$2$3');
}

function withPlainLineEnds(text: string): string {
  return text.replace(/^\ufeff+/, '').replace(/\r\n?/g, '\n');
}

/** Lines without the empty ones around them, and without white space at their end. */
function tidyEnds(lines: readonly string[]): string {
  const first = lines.findIndex((line) => line.trim() !== '');
  return first === -1 ? '' : lines.slice(first).join('\n').trimEnd();
}
