import { badRequest, Refusal } from './refusal.ts';
import { MAX_UPLOAD } from './files.ts';
import { isObject, parseJson, wholeNumber } from './values.ts';

export interface Upload {
  name: string | undefined;
  mime: string | undefined;
  bytes: Buffer;
}

const MAX_PARTS = 200;
/** What one parameter takes in the log. */
const MAX_LOGGED = 40_000;

/** The arguments of a call, however they were sent. */
export class Parameters {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #uploads: ReadonlyMap<string, Upload>;

  constructor(values: ReadonlyMap<string, unknown>, uploads: ReadonlyMap<string, Upload>) {
    this.#values = values;
    this.#uploads = uploads;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** '' when it is missing. */
  text(name: string): string {
    const value = this.#values.get(name);
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
      ? String(value)
      : '';
  }

  integer(name: string): number | undefined {
    return wholeNumber(this.#values.get(name));
  }

  flag(name: string): boolean {
    const value = this.#values.get(name);
    return value === true || value === 1 || /^(true|yes|1)$/i.test(this.text(name));
  }

  /**
   * A structured argument: as it is, or as the JSON text that forms carry.
   * @throws Refusal for text that is no JSON.
   */
  json(name: string): unknown {
    const value = this.#values.get(name);
    if (typeof value !== 'string') return value;
    if (value === '') return undefined;
    const parsed = parseJson(value);
    if (parsed === undefined) throw badRequest(`can't parse ${name} JSON object`);
    return parsed;
  }

  /** An upload under this name, or the one that `attach://` names; else the text: a file id or a URL. */
  file(name: string): Upload | string | undefined {
    const direct = this.#uploads.get(name);
    if (direct !== undefined) return direct;
    const text = this.text(name);
    if (text === '') return undefined;
    return text.startsWith('attach://') ? this.#uploads.get(text.slice(9)) : text;
  }

  /** For the log: files by name and size, long texts cut. */
  toLog(): Record<string, unknown> {
    const logged: Record<string, unknown> = {};
    for (const [name, value] of this.#values) {
      const parsed =
        typeof value === 'string' && /^[[{]/.test(value) ? parseJson(value) : undefined;
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      logged[name] = text.length > MAX_LOGGED ? text.slice(0, MAX_LOGGED) : (parsed ?? value);
    }
    for (const [name, { name: file, bytes }] of this.#uploads) {
      logged[name] = { file: file ?? null, size: bytes.length };
    }
    return logged;
  }
}

/**
 * Reads what a call carries: in its address, as JSON, as a form or as a form with files.
 * @throws Refusal 400 for a body that is none of these, 413 for a file beyond 50 MB.
 */
export function readParameters(
  query: URLSearchParams,
  contentType: string,
  body: Buffer,
): Parameters {
  const values = new Map<string, unknown>(query);
  const uploads = new Map<string, Upload>();
  const type = (contentType.split(';', 1)[0] ?? '').trim().toLowerCase();
  if (body.length > 0) {
    switch (type) {
      case 'application/json': {
        const json = parseJson(body.toString());
        if (!isObject(json)) throw badRequest("can't parse JSON object");
        for (const [name, value] of Object.entries(json))
          if (value != null) values.set(name, value);
        break;
      }
      case 'application/x-www-form-urlencoded':
        for (const [name, value] of new URLSearchParams(body.toString())) values.set(name, value);
        break;
      case 'multipart/form-data':
        readMultipart(contentType, body, values, uploads);
        break;
      default:
        throw badRequest('unsupported content type of the request');
    }
  }
  return new Parameters(values, uploads);
}

function readMultipart(
  contentType: string,
  body: Buffer,
  values: Map<string, unknown>,
  uploads: Map<string, Upload>,
): void {
  const match = /boundary=(?:"([^"]{1,200})"|([^;\s]{1,200}))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2];
  const malformed = badRequest("can't parse multipart body");
  if (boundary === undefined) throw malformed;
  const mark = Buffer.from(`\r\n--${boundary}`);
  let at = body.indexOf(mark.subarray(2));
  if (at < 0) throw malformed;
  at += mark.length - 2;
  for (let part = 0; body.toString('latin1', at, at + 2) !== '--'; part++) {
    const headEnd = body.indexOf('\r\n\r\n', at);
    const end = headEnd < 0 ? -1 : body.indexOf(mark, headEnd + 2);
    if (headEnd < 0 || end < 0 || part >= MAX_PARTS) throw malformed;
    const head = body.toString('utf8', at + 2, headEnd);
    const content = body.subarray(Math.min(headEnd + 4, end), end);
    const name = headerValue(head, 'name');
    if (name === undefined) throw malformed;
    const file = headerValue(head, 'filename');
    if (file === undefined) values.set(name, content.toString());
    else {
      if (content.length > MAX_UPLOAD) throw new Refusal(413, 'Request Entity Too Large');
      const mime = /^content-type:\s{0,9}([^\r\n;]{1,200})/im.exec(head)?.[1]?.trim();
      uploads.set(name, {
        name: file === '' ? undefined : file,
        mime,
        bytes: Buffer.from(content),
      });
    }
    at = end + mark.length;
  }
}

/** A parameter of `Content-Disposition`, quoted or not. */
function headerValue(head: string, name: string): string | undefined {
  const match = new RegExp(`[;\\s]${name}=(?:"([^"\\r\\n]{0,500})"|([^;\\r\\n]{0,500}))`, 'i').exec(
    head,
  );
  return match?.[1] ?? match?.[2]?.trim();
}
