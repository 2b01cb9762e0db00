import { createHash } from 'node:crypto';
import type { Message, PhotoSize } from 'grammy/types';
import type { SimulatorClock } from './clock.ts';
import type { SeededRandom } from './random.ts';
import { badRequest } from './refusal.ts';

export type MediaKind =
  'photo' | 'document' | 'video' | 'audio' | 'voice' | 'animation' | 'video_note' | 'sticker';

/** A file as Telegram keeps it. */
export interface StoredFile {
  file_id: string;
  file_unique_id: string;
  /** Where `getFile` says that it is. */
  path: string;
  name: string | undefined;
  mime: string;
  size: number;
  sha256: string;
  bytes: Buffer;
}

/** What a sender says about a file. */
export interface MediaDetails {
  duration?: number;
  width?: number;
  height?: number;
  emoji?: string;
  title?: string;
  performer?: string;
}

const MAX_BYTES = 512 * 1024 * 1024;
const MAX_FILES = 20_000;
/** A link that `getFile` gave is good for an hour. */
const LINK_MS = 3_600_000;
/** What bots may download, and upload. */
const MAX_DOWNLOAD = 20 * 1024 * 1024;
export const MAX_UPLOAD = 50 * 1024 * 1024;

const folders: Record<MediaKind, { folder: string; mime: string; ending: string }> = {
  photo: { folder: 'photos', mime: 'image/jpeg', ending: 'jpg' },
  document: { folder: 'documents', mime: 'application/octet-stream', ending: 'bin' },
  video: { folder: 'videos', mime: 'video/mp4', ending: 'mp4' },
  audio: { folder: 'music', mime: 'audio/mpeg', ending: 'mp3' },
  voice: { folder: 'voice', mime: 'audio/ogg', ending: 'oga' },
  animation: { folder: 'animations', mime: 'video/mp4', ending: 'mp4' },
  video_note: { folder: 'video_notes', mime: 'video/mp4', ending: 'mp4' },
  sticker: { folder: 'stickers', mime: 'image/webp', ending: 'webp' },
};

/** The one pixel that stands for the small copies that Telegram makes of photos. */
const pixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
);

/** What Telegram makes of a name's ending. */
const mimes = new Map([
  ['txt', 'text/plain'],
  ['log', 'text/plain'],
  ['md', 'text/markdown'],
  ['csv', 'text/csv'],
  ['html', 'text/html'],
  ['json', 'application/json'],
  ['pdf', 'application/pdf'],
  ['zip', 'application/zip'],
  ['png', 'image/png'],
  ['jpg', 'image/jpeg'],
  ['jpeg', 'image/jpeg'],
  ['gif', 'image/gif'],
  ['webp', 'image/webp'],
  ['mp4', 'video/mp4'],
  ['mp3', 'audio/mpeg'],
  ['ogg', 'audio/ogg'],
]);

/** All files of the simulated Telegram: at most 512 MiB, the oldest go first. */
export class FileStore {
  readonly #clock: SimulatorClock;
  readonly #random: SeededRandom;
  readonly #files = new Map<string, StoredFile>();
  readonly #links = new Map<string, { file: StoredFile; until: number }>();
  #bytes = 0;
  #count = 0;

  constructor(clock: SimulatorClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  add(kind: MediaKind, bytes: Buffer, about: { name?: string; mime?: string } = {}): StoredFile {
    const { folder, mime, ending } = folders[kind];
    const given = /\.([A-Za-z0-9]{1,10})$/.exec(about.name ?? '')?.[1];
    const file: StoredFile = {
      file_id: `${fileIdPrefixes[kind]}${this.#random.letters(60)}`,
      file_unique_id: `AgAD${this.#random.letters(11)}`,
      path: `${folder}/file_${this.#count++}.${given ?? ending}`,
      name: about.name,
      mime: about.mime ?? mimes.get((given ?? '').toLowerCase()) ?? mime,
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes,
    };
    this.#files.set(file.file_id, file);
    this.#bytes += file.size;
    for (const [id, { size }] of this.#files) {
      if (this.#bytes <= MAX_BYTES && this.#files.size <= MAX_FILES) break;
      this.#files.delete(id);
      this.#bytes -= size;
    }
    return file;
  }

  get(fileId: string): StoredFile | undefined {
    return this.#files.get(fileId);
  }

  /** `getFile`: makes the path good for an hour. */
  link(fileId: string): StoredFile {
    const file = this.#files.get(fileId);
    if (file === undefined) throw badRequest('invalid file_id');
    if (file.size > MAX_DOWNLOAD) throw badRequest('file is too big');
    this.#links.delete(file.path);
    this.#links.set(file.path, { file, until: this.#clock.now() + LINK_MS });
    const [oldest] = this.#links.keys();
    if (this.#links.size > MAX_FILES && oldest !== undefined) this.#links.delete(oldest);
    return file;
  }

  /** The file behind a path that `getFile` gave within the last hour. */
  download(path: string): StoredFile | undefined {
    const link = this.#links.get(path);
    return link !== undefined && link.until > this.#clock.now() ? link.file : undefined;
  }

  /** The field of a message that shows this file. */
  media(kind: MediaKind, file: StoredFile, details: MediaDetails): Partial<Message> {
    const { file_id, file_unique_id, size: file_size } = file;
    const common = { file_id, file_unique_id, file_size };
    const duration = details.duration ?? 1;
    const size = imageSize(file.bytes) ?? {
      width: details.width ?? 320,
      height: details.height ?? 320,
    };
    const named = {
      ...(file.name === undefined ? {} : { file_name: file.name }),
      mime_type: file.mime,
    };
    switch (kind) {
      case 'photo':
        return { photo: [this.#thumbnail(), { ...common, ...size }] };
      case 'document':
        return { document: { ...named, ...common } };
      case 'video':
        return { video: { duration, ...size, ...named, ...common } };
      case 'audio': {
        const { title, performer } = details;
        const credits = {
          ...(performer === undefined ? {} : { performer }),
          ...(title === undefined ? {} : { title }),
        };
        return { audio: { duration, ...named, ...credits, ...common } };
      }
      case 'voice':
        return { voice: { duration, mime_type: file.mime, ...common } };
      case 'animation': {
        const animation = { duration, ...size, ...named, ...common };
        return { animation, document: { ...named, ...common } };
      }
      case 'video_note':
        return { video_note: { duration, length: size.width, ...common } };
      case 'sticker': {
        const emoji = details.emoji ?? '👍';
        const flags = { is_animated: false, is_video: false, type: 'regular' } as const;
        return { sticker: { width: 512, height: 512, emoji, ...flags, ...common } };
      }
    }
  }

  #thumbnail(): PhotoSize {
    const { file_id, file_unique_id, size } = this.add('photo', pixel);
    return { file_id, file_unique_id, file_size: size, width: 1, height: 1 };
  }
}

const fileIdPrefixes: Record<MediaKind, string> = {
  photo: 'AgACAgIAAxkB',
  document: 'BQACAgIAAxkB',
  video: 'BAACAgIAAxkB',
  audio: 'CQACAgIAAxkB',
  voice: 'AwACAgIAAxkB',
  animation: 'CgACAgIAAxkB',
  video_note: 'DQACAgIAAxkB',
  sticker: 'CAACAgIAAxkB',
};

/** Width and height of a PNG, GIF or JPEG; undefined for anything else. */
export function imageSize(bytes: Buffer): { width: number; height: number } | undefined {
  if (bytes.length >= 24 && bytes.readUInt32BE(0) === 0x89504e47) {
    return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  }
  if (bytes.length >= 10 && bytes.toString('latin1', 0, 4) === 'GIF8') {
    return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  }
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1] ?? 0;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    at += 2 + bytes.readUInt16BE(at + 2);
  }
  return undefined;
}
