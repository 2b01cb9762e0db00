/** The longest control string (OSC, DCS, APC, PM, SOS) that is dropped as one; what is longer shows as text. */
const MAX_STRING = 65_536;
/** The longest other sequence that is dropped as one. */
const MAX_SEQUENCE = 256;

type State = 'text' | 'escape' | 'intermediate' | 'csi' | 'string';

/** What text passes through on its way to the terminal. */
export interface TextFilter {
  /** The part of the text so far that may be shown now. */
  push(text: string): string;
  /** What is left at the end of the message; the filter is then as new. */
  end(): string;
}

/**
 * Removes what a terminal would act on: control characters but LF and TAB, escape sequences
 * (also when they begin in one push and end in another), and characters that reorder or hide
 * text. Lone surrogates become U+FFFD. Safe by construction: no control character is ever
 * passed on, whatever the state; the states only keep a sequence's body from showing as text.
 */
export class Sanitizer implements TextFilter {
  #state: State = 'text';
  #length = 0;
  #high = '';

  push(text: string): string {
    const source = this.#high + text;
    this.#high = '';
    let out = '';
    let start = 0;
    for (let at = 0; at < source.length; at += 1) {
      const unit = source.charCodeAt(at);
      if (this.#state !== 'text' && this.#sequence(unit)) {
        start = at + 1;
        continue;
      }
      if (unit >= 0x20 && unit < 0x7f) continue;
      const kept = this.#character(source, at, unit);
      if (kept === 'as it is') continue;
      if (kept === 'pair') {
        at += 1;
        continue;
      }
      out += source.slice(start, at);
      if (kept === 'incomplete') {
        this.#high = source.slice(at);
        return out;
      }
      if (kept === 'replace') out += '\ufffd';
      if (kept === 'drop pair') at += 1;
      start = at + 1;
    }
    return this.#state === 'text' ? out + source.slice(start) : out;
  }

  end(): string {
    const rest = this.#high === '' || this.#state !== 'text' ? '' : '\ufffd';
    this.#state = 'text';
    this.#length = 0;
    this.#high = '';
    return rest;
  }

  /** Reads one unit inside a sequence. @returns whether it belongs to it; otherwise the state is `text`. */
  #sequence(unit: number): boolean {
    this.#length += 1;
    if (unit === 0x1b || (unit >= 0x80 && unit <= 0x9f)) {
      this.#begin(unit);
      return true;
    }
    if (unit === 0x18 || unit === 0x1a) return this.#leave(true);
    switch (this.#state) {
      case 'string':
        if (unit === 0x07) return this.#leave(true);
        if (this.#length > MAX_STRING) return this.#leave(false);
        return true;
      case 'escape':
        if (unit >= 0x20 && unit <= 0x2f) this.#state = 'intermediate';
        else if (unit === 0x5b) this.#state = 'csi';
        else if (isStringOpener(unit)) this.#state = 'string';
        else return this.#leave(unit >= 0x30 && unit <= 0x7e);
        return true;
      case 'intermediate':
        if (this.#length > MAX_SEQUENCE) return this.#leave(false);
        if (unit >= 0x20 && unit <= 0x2f) return true;
        return this.#leave(unit >= 0x30 && unit <= 0x7e);
      case 'csi':
        if (this.#length > MAX_SEQUENCE) return this.#leave(false);
        if (unit >= 0x20 && unit <= 0x3f) return true;
        return this.#leave(unit >= 0x40 && unit <= 0x7e);
      case 'text':
        return false;
    }
  }

  #leave(consumed: boolean): boolean {
    this.#state = 'text';
    this.#length = 0;
    return consumed;
  }

  /** Enters the sequence that ESC or a C1 control opens; other C1 controls end what is open. */
  #begin(unit: number): void {
    this.#length = 0;
    if (unit === 0x1b) this.#state = 'escape';
    else if (unit === 0x9b) this.#state = 'csi';
    else if (unit === 0x90 || unit === 0x98 || (unit >= 0x9d && unit <= 0x9f))
      this.#state = 'string';
    else this.#state = 'text';
  }

  #character(
    source: string,
    at: number,
    unit: number,
  ): 'as it is' | 'pair' | 'drop' | 'drop pair' | 'replace' | 'incomplete' {
    if (unit === 0x0a || unit === 0x09) return 'as it is';
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) {
      if (unit === 0x1b || unit >= 0x80) this.#begin(unit);
      return 'drop';
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
      if (at + 1 === source.length) return 'incomplete';
      const low = source.charCodeAt(at + 1);
      if (low < 0xdc00 || low > 0xdfff) return 'replace';
      // U+E0000 to U+E007F, tags: invisible copies of ASCII.
      return unit === 0xdb40 && low <= 0xdc7f ? 'drop pair' : 'pair';
    }
    if (unit >= 0xdc00 && unit <= 0xdfff) return 'replace';
    return isInvisible(unit) ? 'drop' : 'as it is';
  }
}

/** A whole text, made safe. */
export function sanitize(text: string): string {
  const filter = new Sanitizer();
  return filter.push(text) + filter.end();
}

/** A name, a title or an error: made safe, and on one line. */
export function sanitizeLine(text: string): string {
  return sanitize(text).replace(/[\n\t]+/g, ' ');
}

/** For `--raw`: passes everything on. */
export const rawFilter: TextFilter = { push: (text) => text, end: () => '' };

/** `P` DCS, `X` SOS, `]` OSC, `^` PM, `_` APC. */
function isStringOpener(unit: number): boolean {
  return unit === 0x50 || unit === 0x58 || (unit >= 0x5d && unit <= 0x5f);
}

/** Characters that reorder text or cannot be seen. ZWJ and ZWNJ stay: emoji and several scripts need them. */
function isInvisible(unit: number): boolean {
  return (
    unit === 0x061c ||
    unit === 0x180e ||
    unit === 0x200b ||
    unit === 0x200e ||
    unit === 0x200f ||
    (unit >= 0x2028 && unit <= 0x202e) ||
    (unit >= 0x2060 && unit <= 0x206f) ||
    unit === 0xfeff ||
    (unit >= 0xfff9 && unit <= 0xfffb)
  );
}
