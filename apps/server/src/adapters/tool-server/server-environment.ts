/** Variables of ours that a server of tools gets too. No proxies: their URLs may hold passwords. */
const passed = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR'];
/** Where programs are looked for when we were started without a PATH. */
const USUAL_PATH = '/usr/local/bin:/usr/bin:/bin';

/** The whole environment of a server: a few variables of `base`, and its own. */
export function serverEnvironment(
  base: Readonly<Record<string, string | undefined>>,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = { PATH: USUAL_PATH };
  for (const name of passed) {
    const value = base[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...own };
}
