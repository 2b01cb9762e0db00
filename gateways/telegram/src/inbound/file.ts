import type { Message } from 'grammy/types';
import { cut } from './cut.ts';

/** Telegram gives bots no larger files. */
export const MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024;

/** A file that is fetched before its event is sent. */
export interface PendingFile {
  /** What it is, such as `voice`. */
  kind: string;
  fileId: string;
  name: string;
  mime: string;
  /** As Telegram announced it; undefined: it did not. */
  size: number | undefined;
}

/** The file that came with a message; null: there is none. */
export function readFile(message: Message): PendingFile | null {
  // An animation is a document too, and a live photo a photo: the richer kind comes first.
  const { animation, photo, voice, audio, video, video_note: note, sticker, document } = message;
  if (animation !== undefined) return file('animation', animation, 'animation.mp4', 'video/mp4');
  const largest = photo?.reduce((best, size) => (area(size) > area(best) ? size : best));
  if (largest !== undefined) return file('photo', largest, 'photo.jpg', 'image/jpeg');
  if (voice !== undefined) return file('voice', voice, 'voice.ogg', 'audio/ogg');
  if (audio !== undefined) return file('audio', audio, 'audio.mp3', 'audio/mpeg');
  if (video !== undefined) return file('video', video, 'video.mp4', 'video/mp4');
  if (note !== undefined) return file('video_note', note, 'video_note.mp4', 'video/mp4');
  if (sticker !== undefined) {
    if (sticker.is_video) return file('sticker', sticker, 'sticker.webm', 'video/webm');
    return sticker.is_animated
      ? file('sticker', sticker, 'sticker.tgs', 'application/x-tgsticker')
      : file('sticker', sticker, 'sticker.webp', 'image/webp');
  }
  if (document !== undefined) {
    return file('document', document, 'document', 'application/octet-stream');
  }
  return null;
}

function area(size: { width: number; height: number }): number {
  return size.width * size.height;
}

function file(
  kind: string,
  of: { file_id: string; file_size?: number; file_name?: string; mime_type?: string },
  name: string,
  mime: string,
): PendingFile {
  return {
    kind,
    fileId: of.file_id,
    name: cleanName(of.file_name ?? '') || name,
    mime: cut(of.mime_type ?? mime, 255),
    size: of.file_size,
  };
}

/** A name without folders, and without what terminals and file systems take amiss. */
export function cleanName(name: string): string {
  const last = name.split(/[\\/]/).at(-1) ?? '';
  const clean = last.replace(/[\p{Cc}\p{Cf}\p{Cs}<>:"|?*]/gu, '_').replace(/^[.\s]+|[.\s]+$/g, '');
  // Bytes, for file systems take 255 of them; characters stay whole.
  let kept = '';
  for (const character of clean) {
    if (Buffer.byteLength(kept + character) > 200) break;
    kept += character;
  }
  return kept;
}
