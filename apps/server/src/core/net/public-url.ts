/** Longer than any page needs, and than most servers take. */
export const MAX_URL_LENGTH = 4_096;

/**
 * Ports of other protocols, some of which would take a request for a command of theirs: the list
 * of "port blocking" in the Fetch standard, which every browser keeps to.
 */
const BAD_PORTS: ReadonlySet<number> = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
  103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
  512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
  995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
  6669, 6679, 6697, 10080,
]);

/** Names, and ends of names, that mean this machine or its network wherever they are looked up. */
const LOCAL_NAMES: readonly string[] = [
  'localhost',
  'localhost.localdomain',
  'localdomain',
  'local',
  'internal',
  'intranet',
  'lan',
  'home.arpa',
  'ip6-localhost',
  'ip6-loopback',
];

/** What of a parsed URL is judged: the fields of `URL`. */
export interface UrlParts {
  href: string;
  protocol: string;
  username: string;
  password: string;
  hostname: string;
  port: string;
}

/** Why a URL may be fetched by nobody, whoever wrote it, as a sentence; null: it may. */
export function urlFault(url: UrlParts): string | null {
  if (url.href.length > MAX_URL_LENGTH) {
    return `The URL is longer than ${MAX_URL_LENGTH} characters. Use a shorter one.`;
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return `${url.protocol} URLs cannot be fetched. Use one that begins with https:// or http://.`;
  }
  if (url.username !== '' || url.password !== '') {
    return 'The URL contains a user name or password. Write it without the part before the @.';
  }
  if (url.hostname === '') return 'The URL names no host. Use one like https://example.com/page.';
  if (url.port !== '' && BAD_PORTS.has(Number(url.port))) {
    return `Port ${url.port} belongs to another protocol than HTTP. Use the port of a web server.`;
  }
  return null;
}

/** Why a host name means a place that is not public, as in "it is …"; null: its addresses decide. */
export function hostFault(hostname: string): string | null {
  const name = hostname.toLowerCase().replace(/\.{1,255}$/, '');
  if (name === '') return 'no name';
  const isLocal = LOCAL_NAMES.some((local) => name === local || name.endsWith(`.${local}`));
  return isLocal ? 'a name of this machine or its network' : null;
}
