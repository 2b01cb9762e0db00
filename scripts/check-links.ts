import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';

// Fails when a Markdown file links to a file, or to a heading of one, that is not there.

const root = path.join(import.meta.dirname, '..');
const skipped = new Set(['node_modules', 'dist', 'coverage', '.git', '.turbo']);

const files = globSync('**/*.md', {
  cwd: root,
  exclude: (name) => skipped.has(path.basename(name)),
});
const faults = files.flatMap((file) => brokenLinks(path.join(root, file)));

for (const fault of faults) console.error(fault);
console.log(`${files.length} Markdown files, ${faults.length} broken links`);
process.exitCode = faults.length === 0 ? 0 : 1;

/** One line for each link of the file that leads nowhere. Other sites are not asked. */
function brokenLinks(file: string): string[] {
  return withoutCode(readFileSync(file, 'utf8'))
    .split('\n')
    .flatMap((line, index) =>
      linksIn(line)
        .filter((link) => !leadsSomewhere(file, link))
        .map((link) => `${path.relative(root, file)}:${index + 1}: ${link} is not there`),
    );
}

/** Targets of `[text](target)`, `![text](target)` and `[name]: target`. */
function linksIn(line: string): string[] {
  const inline = /\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g;
  const reference = /^\s{0,3}\[[^\]]+\]:\s+<?([^\s>]+)/g;
  return [...line.matchAll(inline), ...line.matchAll(reference)]
    .map((match) => match[1] ?? '')
    .filter((link) => !/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(link));
}

function leadsSomewhere(file: string, link: string): boolean {
  const [target = '', heading] = decodeURI(link).split('#');
  const linked =
    target === '' ? file : path.resolve(path.dirname(file), target.split('?')[0] ?? '');
  if (!existsSync(linked)) return false;
  return heading === undefined || !linked.endsWith('.md') || anchorsOf(linked).has(heading);
}

/** The anchors of a file's headings as GitHub names them: `## Who may import` is `who-may-import`. */
function anchorsOf(file: string): Set<string> {
  const anchors = new Set<string>();
  const text = withoutFences(readFileSync(file, 'utf8'));
  for (const [, heading = ''] of text.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let copy = 1; anchors.has(anchor); copy += 1) anchor = `${slug}-${copy}`;
    anchors.add(anchor);
  }
  for (const [, id = ''] of text.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) anchors.add(id);
  return anchors;
}

/** The text with as many lines, and nothing in code. */
function withoutCode(text: string): string {
  return withoutFences(text).replaceAll(/`[^`\n]*`/g, '');
}

function withoutFences(text: string): string {
  return text.replaceAll(/^( *)(`{3,}|~{3,})[^\n]*\n[\s\S]*?^ *\2[^\n]*$/gm, (fence) =>
    fence.replaceAll(/[^\n]/g, ''),
  );
}
