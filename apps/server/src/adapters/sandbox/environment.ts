/** Variables of the server that a command gets too. */
const passed = ['HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'USER', 'LOGNAME'];
/** Where programs are looked for when the server was started without a PATH. */
const USUAL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The whole environment of a command, or what may not be set for it. */
export type Environment = { env: Record<string, string> } | { fault: string };

/** A few variables of the server, and the changes of the command's own. */
export function commandEnvironment(options: {
  /** The server's. */
  base: Readonly<Record<string, string | undefined>>;
  /** Where temporary files go. */
  tmpDir: string;
  changes: Readonly<Record<string, string>>;
  isRefusedVariable: (name: string) => boolean;
}): Environment {
  const { base, changes } = options;
  for (const [name, value] of Object.entries(changes)) {
    if (options.isRefusedVariable(name)) {
      return { fault: `the variable ${JSON.stringify(name)} may not be set for a command` };
    }
    if (value.includes('\0')) return { fault: `the variable ${name} has a null character` };
  }
  const inherited = passed.flatMap((name) => {
    const value = base[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    env: {
      ...Object.fromEntries(inherited),
      TERM: 'dumb',
      TMPDIR: options.tmpDir,
      ...changes,
      PATH: absoluteFolders(changes['PATH'] ?? base['PATH'] ?? USUAL_PATH),
    },
  };
}

/** A relative folder of PATH would let a file of the workspace pass for a program. */
function absoluteFolders(searchPath: string): string {
  return searchPath
    .split(':')
    .filter((folder) => folder.startsWith('/'))
    .join(':');
}
