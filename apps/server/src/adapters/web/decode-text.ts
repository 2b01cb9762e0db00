/** A page says its character set within its first bytes: the HTML standard looks at so many. */
const META_BYTES = 1_024;

/**
 * The text of a body: by its byte order mark, else by what the server named, else by what the page
 * names, else UTF-8. Bytes that are none of it become U+FFFD; a character cut at the end is left out.
 */
export function decodeText(body: Uint8Array, charset: string | null): string {
  const named = markOf(body) ?? charset ?? metaCharset(body) ?? 'utf-8';
  return decoderFor(named).decode(body, { stream: true });
}

function decoderFor(charset: string) {
  try {
    return new TextDecoder(charset);
  } catch {
    // A name that the Encoding standard does not know.
    return new TextDecoder('utf-8');
  }
}

function markOf([a, b, c]: Uint8Array): string | null {
  if (a === 0xef && b === 0xbb && c === 0xbf) return 'utf-8';
  if (a === 0xfe && b === 0xff) return 'utf-16be';
  return a === 0xff && b === 0xfe ? 'utf-16le' : null;
}

/** What `<meta charset="…">` or its older form names. */
function metaCharset(body: Uint8Array): string | null {
  const head = new TextDecoder('latin1').decode(body.subarray(0, META_BYTES));
  const named = /<meta\s[^>]{0,200}charset\s{0,5}=\s{0,5}["']?([\w.:-]{1,40})/i.exec(head)?.[1];
  // The page could be read up to here byte by byte.
  return named === undefined || /^utf-16/i.test(named) ? null : named;
}
