/** What turns the direction of text around. */
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * What a program printed, as text: without colours, titles and other control sequences. Of a line
 * that was written over, as progress bars are, the last version is left.
 */
export function terminalText(printed: string): string {
  return withoutSequences(printed)
    .split(/\r*\n/)
    .map((line) =>
      line.includes('\r') ? (line.split('\r').findLast((part) => part !== '') ?? '') : line,
    )
    .join('\n')
    .replace(CONTROL, '')
    .replace(BIDI, '');
}

/** The lines of what a program printed, also those that were written over. */
export function printedLines(printed: string): string[] {
  return withoutSequences(printed)
    .split(/[\r\n]+/)
    .map((line) => line.replace(CONTROL, '').replace(BIDI, ''));
}

const ESC = '\u001b';
const BEL = '\u0007';

/** Without what begins with ESC; one that is not finished goes to the end of the text. */
function withoutSequences(text: string): string {
  let plain = '';
  let at = 0;
  for (;;) {
    const start = text.indexOf(ESC, at);
    if (start === -1) return plain + text.slice(at);
    plain += text.slice(at, start);
    at = sequenceEnd(text, start + 1);
  }
}

/** Where the sequence ends whose ESC lies before `at`. */
function sequenceEnd(text: string, at: number): number {
  switch (text[at]) {
    case '[':
      return endOfControl(text, at + 1);
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_':
      return endOfString(text, at + 1);
    default:
      return endOfEscape(text, at);
  }
}

/** Parameters and intermediates, then one final character. */
function endOfControl(text: string, start: number): number {
  let at = start;
  while (isIn(text.charCodeAt(at), 0x20, 0x3f)) at += 1;
  // What cannot end one is no part of it.
  return isIn(text.charCodeAt(at), 0x40, 0x7e) ? at + 1 : at;
}

/** Up to BEL, ESC \ or, since nobody would wait for ever, the end of the line. */
function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    if (text[at] === BEL) return at + 1;
    if (text[at] === ESC) return text[at + 1] === '\\' ? at + 2 : at;
    if (text[at] === '\n') return at;
  }
  return text.length;
}

/** Intermediates, then one final character. */
function endOfEscape(text: string, start: number): number {
  let at = start;
  while (isIn(text.charCodeAt(at), 0x20, 0x2f)) at += 1;
  return isIn(text.charCodeAt(at), 0x30, 0x7e) ? at + 1 : at;
}

function isIn(unit: number, first: number, last: number): boolean {
  return unit >= first && unit <= last;
}
