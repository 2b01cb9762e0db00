import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { InboundEvent, MediaFile } from '@duragent/protocol';
import { type Api, GrammyError } from 'grammy';
import { MAX_DOWNLOAD_BYTES, type PendingFile } from '../inbound/file.ts';
import type { CallSignal } from '../outbound/calls.ts';
import { readFailure } from '../outbound/failure.ts';
import { withoutToken } from './config.ts';
import { messageOf } from './message-of.ts';

const DOWNLOAD_TIMEOUT_MS = 120_000;
const MAX_DOWNLOADS = 4;
const RETRY_MS = 500;

/** Where files come from, and where they go. */
export interface DownloadsOptions {
  api: Api;
  apiRoot: string;
  botToken: string;
  /** The folder that the server takes them from. */
  mediaDir: string;
  /** Ends what is being fetched. */
  signal: AbortSignal;
}

/** Fetches the files that people send, a few at a time. */
export class Downloads {
  readonly #options: DownloadsOptions;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: DownloadsOptions) {
    this.#options = options;
  }

  /** A file that cannot be had is named instead. Never rejects. */
  async withFile(event: InboundEvent, file: PendingFile): Promise<InboundEvent> {
    if (event.type !== 'message_received') return event;
    if (this.#running >= MAX_DOWNLOADS) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      // Another on every redelivery: the server may be taking the first one at this moment.
      const ending = `${randomUUID().slice(0, 8)}${path.extname(file.name)}`;
      const name = `${event.event_id}-${ending}`.replace(/[^\w.-]/g, '_');
      const media = await this.#fetch(file, name);
      return { ...event, content: { ...event.content, media: [media] } };
    } catch (error) {
      const unknown = `${file.kind}: ${messageOf(error)}`.slice(0, 200);
      return { ...event, content: { ...event.content, unknown } };
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** Puts a file that somebody sent into its folder. @throws Error that says why it cannot. */
  async #fetch(file: PendingFile, name: string): Promise<MediaFile> {
    const signal = AbortSignal.any([
      this.#options.signal,
      AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS),
    ]);
    for (let tries = 1; ; tries++) {
      try {
        return await this.#download(file, name, signal);
      } catch (error) {
        const refused = error instanceof GrammyError && error.error_code === 400;
        if (refused || error instanceof FileRefused || tries === 2 || signal.aborted) {
          throw new Error(withoutToken(fileFault(error), this.#options.botToken));
        }
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #download(file: PendingFile, name: string, signal: AbortSignal): Promise<MediaFile> {
    const { api, apiRoot, botToken, mediaDir } = this.#options;
    const found = await api.raw.getFile({ file_id: file.fileId }, signal as CallSignal);
    if (found.file_path === undefined) throw new FileRefused('Telegram gave no path');
    const steps = found.file_path.split('/').map(encodeURIComponent).join('/');
    const response = await fetch(`${apiRoot}/file/bot${botToken}/${steps}`, { signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      const fault = `HTTP ${response.status}`;
      throw response.status < 500 ? new FileRefused(fault) : new Error(fault);
    }
    const target = path.join(mediaDir, name);
    const part = `${target}.part`;
    const hash = createHash('sha256');
    let size = 0;
    try {
      await pipeline(
        Readable.fromWeb(response.body),
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            size += chunk.length;
            if (size > MAX_DOWNLOAD_BYTES) throw new FileRefused('larger than 20 MB');
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(part, { mode: 0o600 }),
        { signal },
      );
      await rename(part, target);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
    const { name: shownName, mime } = file;
    return { path: target, name: shownName, mime, size, sha256: hash.digest('hex') };
  }
}

/** Trying again would not help. */
class FileRefused extends Error {}

function fileFault(error: unknown): string {
  if (error instanceof FileRefused) return error.message;
  if (error instanceof GrammyError) return error.description;
  return readFailure(error, 'the download').message;
}
