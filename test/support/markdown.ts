/** A row of a Markdown table, by the titles of its columns. */
export type TableRow = Readonly<Record<string, string>>;

/** The rows of the first table under each heading, by the heading's text without its code marks. */
export function readTables(markdown: string): Map<string, TableRow[]> {
  const tables = new Map<string, TableRow[]>();
  const text = markdown.replaceAll(/^(`{3,})[^\n]*\n[\s\S]*?^\1$/gm, '');
  for (const section of text.split(/^(?=#{1,6} )/m)) {
    const heading = /^#{1,6} (.+)/.exec(section)?.[1]?.replaceAll('`', '');
    const table = /(?:^\|.*\n)+/m.exec(section)?.[0];
    if (heading === undefined || table === undefined) continue;
    if (tables.has(heading)) throw new Error(`two sections with a table are named ${heading}`);
    tables.set(heading, readTable(table));
  }
  return tables;
}

/** The words in code marks of a cell, in order. */
export function codeWords(cell: string | undefined): string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
}

function readTable(table: string): TableRow[] {
  const [titles = [], , ...rows] = table.trimEnd().split('\n').map(cellsOf);
  return rows.map((cells) =>
    Object.fromEntries(titles.map((title, index) => [title, cells[index] ?? ''])),
  );
}

function cellsOf(line: string): string[] {
  const cells = line.split('|').map((cell) => cell.trim());
  return cells.slice(1, -1);
}
