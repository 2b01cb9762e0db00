/** The address as Telegram writes it; undefined when it is none that a message may link to. */
export function checkedLink(link: string): string | undefined {
  const trimmed = link.trim();
  if (trimmed === '' || /[\s<>"]/.test(trimmed)) return undefined;
  const hasScheme = /^[a-z][a-z0-9+.-]{0,20}:/i.test(trimmed) && !/^[^/]{1,253}:\d/.test(trimmed);
  let url: URL;
  try {
    url = new URL(hasScheme ? trimmed : `http://${trimmed}`);
  } catch {
    return undefined;
  }
  if (url.protocol === 'tg:' || url.protocol === 'ton:') return trimmed;
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
  return url.hostname.includes('.') ? url.href : undefined;
}

/** The id in `tg://user?id=…`. */
export function userOfLink(link: string): number | undefined {
  const id = /^tg:(?:\/\/)?user\?id=(\d{1,15})$/.exec(link.trim())?.[1];
  return id === undefined ? undefined : Number(id);
}
