import type { MessageEntity } from 'grammy/types';

/** How each kind is found. Every pattern has bounded runs and cannot start within one it refused. */
const patterns: { type: MessageEntity.CommonMessageEntity['type']; pattern: RegExp }[] = [
  {
    type: 'url',
    pattern:
      /(?<![\p{L}\p{N}_@/.:-])(?:https?:\/\/[^\s<>"'`]{1,2000}|(?:[a-z0-9-]{1,63}\.){1,8}(?:com|org|net|io|me|dev|app|ai|de|uk|info)(?![\p{L}\p{N}_-])(?:[/?#][^\s<>"'`]{0,2000})?)/giu,
  },
  {
    type: 'email',
    pattern:
      /(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])/g,
  },
  { type: 'mention', pattern: /(?<![\p{L}\p{N}_@/])@[A-Za-z0-9_]{3,32}(?![A-Za-z0-9_])/gu },
  {
    type: 'bot_command',
    pattern:
      /(?<![\p{L}\p{N}_/<>])\/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![A-Za-z0-9_/<>])/gu,
  },
  { type: 'hashtag', pattern: /(?<![\p{L}\p{N}_#@])#[\p{L}\p{N}_]{1,255}(?![\p{L}\p{N}_])/gu },
  { type: 'cashtag', pattern: /(?<![\p{L}\p{N}_$])\$[A-Z]{1,8}(?![\p{L}\p{N}_])/gu },
];

/** What Telegram marks in any text by itself: links, addresses, mentions, commands, tags. In order, none within another. */
export function findEntities(text: string): MessageEntity.CommonMessageEntity[] {
  const found = patterns.flatMap(({ type, pattern }) =>
    [...text.matchAll(pattern)].flatMap((match) => {
      const value = type === 'url' ? match[0].replace(/[.,:;!?)\]}]{1,20}$/, '') : match[0];
      if (type === 'hashtag' && /^#\d+$/.test(value)) return [];
      return value === '' ? [] : [{ type, offset: match.index, length: value.length }];
    }),
  );
  found.sort((a, b) => a.offset - b.offset || b.length - a.length);
  let end = 0;
  return found.filter((entity) => {
    if (entity.offset < end) return false;
    end = entity.offset + entity.length;
    return true;
  });
}
