import path from 'node:path';

/** Variables of the server that a child gets too. */
const passed = ['HOME', 'LANG', 'TZ', 'TMPDIR'];
/** Where programs are looked for when the server was started without a PATH. */
const USUAL_PATH = '/usr/local/bin:/usr/bin:/bin';

/**
 * The whole environment of a child: a few variables of the server, and the child's own. Its PATH
 * starts with the folder of the server's own Node.
 */
export function childEnvironment(options: {
  /** The server's. */
  base: Readonly<Record<string, string | undefined>>;
  /** The server's Node. */
  nodePath: string;
  /** The child's own. */
  env: Readonly<Record<string, string>>;
}): Record<string, string> {
  const { base, nodePath, env } = options;
  const inherited = passed.flatMap((name) => {
    const value = base[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const nodeDir = path.dirname(nodePath);
  const rest = env['PATH'] ?? base['PATH'] ?? USUAL_PATH;
  return {
    ...Object.fromEntries(inherited),
    ...env,
    PATH: rest === '' ? nodeDir : `${nodeDir}${path.delimiter}${rest}`,
  };
}
