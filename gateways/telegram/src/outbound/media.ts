import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { CommandOf } from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { InputFile } from 'grammy';
import type { Calls } from './calls.ts';
import { answerOf, type Failure, refusal } from './failure.ts';
import { noId, readId, replyTo } from './ids.ts';
import type { Typing } from './typing.ts';

/** The largest file that a bot may upload, and the largest that may be a photo. */
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024;
const MAX_PHOTO_BYTES = 10 * 1024 * 1024;
/** What Telegram shows as a photo; it may still refuse one, which then goes as a file. */
const photoTypes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/webp']);

/** Sends a file, as a photo and with a formatted caption where Telegram takes that. */
export async function sendMedia(
  calls: Calls,
  typing: Typing,
  command: CommandOf<'send_media'>,
  signal: AbortSignal,
): Promise<AnswerBody> {
  const chat = readId(command.chat_id);
  if (chat === null) return noId('chat_id');
  const media = await readMedia(command.media);
  if (!media.ok) return refusal('invalid_request', media.fault);
  const { findMentions, MAX_CAPTION_LENGTH, toHtml } = await import('../format.ts');
  const caption = command.caption ?? '';
  const html = caption === '' ? null : toHtml(caption);
  const isFormatted = html !== null && html.length <= MAX_CAPTION_LENGTH;
  if (!isFormatted && caption.length > MAX_CAPTION_LENGTH) {
    const fault = `a caption may have ${MAX_CAPTION_LENGTH} characters: send the text as a message of its own`;
    return refusal('too_long', fault);
  }
  typing.stop(command);
  const refused = await calls.turn(chat, 'send', signal);
  if (refused !== null) return answerOf(refused);

  const ways: { asPhoto: boolean; formatted: boolean }[] = [
    { asPhoto: media.isPhoto, formatted: isFormatted },
    // For a photo that Telegram cannot show, or a caption that it cannot read.
    { asPhoto: false, formatted: false },
  ];
  let failure: Failure | null = null;
  for (const { asPhoto, formatted } of ways) {
    const says = formatted
      ? { caption: html?.text, parse_mode: 'HTML' as const }
      : caption === ''
        ? {}
        : { caption, caption_entities: findMentions(caption) };
    const result = await calls.call(
      chat,
      'send',
      asPhoto ? 'sendPhoto' : 'sendDocument',
      signal,
      async (id, its) => {
        const { uploads } = calls;
        const common = {
          chat_id: id,
          message_thread_id: readId(command.thread_id) ?? undefined,
          reply_parameters: replyTo(command.reply_to),
          ...says,
        };
        return asPhoto
          ? uploads.sendPhoto({ ...common, photo: media.open() }, its)
          : uploads.sendDocument({ ...common, document: media.open() }, its);
      },
    );
    if (result.ok) return { type: 'command_ok', message_id: String(result.value.message_id) };
    failure = result.failure;
    if (!failure.mayBeForm || (!asPhoto && !formatted)) break;
  }
  return failure === null ? { type: 'command_ok' } : answerOf(failure);
}

type ReadMedia =
  | { ok: true; isPhoto: boolean; /** Anew for each attempt. */ open(): InputFile | string }
  | { ok: false; fault: string };

async function readMedia(media: CommandOf<'send_media'>['media']): Promise<ReadMedia> {
  const { path: file, url, base64 } = media;
  const given = [file, url, base64].filter((source) => source !== undefined);
  if (given.length !== 1) return { ok: false, fault: 'give one of path, url and base64' };
  // It stands in a header, without quotes.
  const name = path.basename(media.name).replace(/[\p{Cc}";\\]/gu, '_') || 'file';
  const mayBePhoto = photoTypes.has(media.mime);
  if (url !== undefined) {
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
      return { ok: false, fault: 'a url of media starts with https://' };
    }
    // Telegram fetches it.
    return { ok: true, isPhoto: mayBePhoto, open: () => url };
  }
  if (base64 !== undefined) {
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.length === 0) return { ok: false, fault: 'the media is empty' };
    return { ok: true, isPhoto: mayBePhoto, open: () => new InputFile(bytes, name) };
  }
  const found = file === undefined ? null : await stat(file).catch(() => null);
  if (file === undefined || found === null || !found.isFile()) {
    return { ok: false, fault: `there is no file ${file ?? ''} to send` };
  }
  if (found.size === 0)
    return { ok: false, fault: `${file} is empty, and Telegram takes no empty files` };
  if (found.size > MAX_UPLOAD_BYTES) {
    return { ok: false, fault: `${file} is larger than the 50 MB that a bot may send` };
  }
  const isPhoto = mayBePhoto && found.size <= MAX_PHOTO_BYTES;
  return { ok: true, isPhoto, open: () => new InputFile(file, name) };
}
