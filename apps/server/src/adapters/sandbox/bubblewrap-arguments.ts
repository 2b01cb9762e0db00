/** What a command sees at a path, instead of the machine's files that may be read there. */
export interface PathRule {
  /** Absolute and resolved: no part of it is a symlink, and it exists. */
  path: string;
  view:
    /** The machine's files, which it may change. */
    | 'writable'
    /** The machine's files, which it may not change. */
    | 'readable'
    /** As it is around it, but not to be changed. */
    | 'kept'
    /** An empty folder of its own, gone when it ends. */
    | 'private'
    /** An empty folder that cannot be changed. */
    | 'hidden-folder'
    /** A file that cannot be opened. */
    | 'hidden-file';
  /** Whether it is there, and ruled so, in every sandbox of this server: no command can swap it for a link. */
  isFixed?: true;
}

/** What this bubblewrap can do beyond the oldest that serves. */
export interface BubblewrapFeatures {
  /** Namespaces of users, and none further below: neither serves where the kernel or a setuid bwrap forbids it. */
  userNamespace: boolean;
  /** `--disable-userns` (0.8.0) */
  disableUserns: boolean;
  /** `--size` (0.7.0) */
  tmpfsSize: boolean;
}

export interface BubblewrapPlan {
  rules: readonly PathRule[];
  cwd: string;
  network: 'none' | 'all';
  diesWithParent: boolean;
  terminal: boolean;
  features: BubblewrapFeatures;
}

/** How much a private folder may hold: it is memory. */
const PRIVATE_BYTES = 1024 * 1024 * 1024;

/**
 * The options of bwrap for one command, up to where its own arguments begin. The whole machine is
 * there and read-only, but for what the rules say; of two rules the one for the deeper path counts.
 */
export function bubblewrapArguments(plan: BubblewrapPlan): string[] {
  const { features } = plan;
  const size = features.tmpfsSize ? ['--size', String(PRIVATE_BYTES)] : [];
  const rules = orderedRules(plan.rules);
  const { cwd, network, diesWithParent, terminal } = plan;
  const { userNamespace, disableUserns } = features;
  const masks = rules.filter(({ view }) => view === 'hidden-folder');
  return [
    '--unshare-all',
    // With its own process 1, bwrap ends while others of the namespace are still dying.
    '--as-pid-1',
    ...(network === 'all' ? ['--share-net'] : []),
    ...(userNamespace ? ['--unshare-user'] : []),
    ...(userNamespace && disableUserns ? ['--disable-userns'] : []),
    ...(diesWithParent ? ['--die-with-parent'] : []),
    // Else it could type into the terminal that the server was started from.
    ...(terminal ? [] : ['--new-session']),
    ...options('--hostname sandbox --cap-drop ALL --ro-bind / / --dev /dev --proc /proc'),
    ...rules.flatMap((rule) => mount(rule, size)),
    // Not before what lies in them is mounted.
    ...masks.flatMap(({ path }) => ['--remount-ro', path]),
    // A server that runs as root owns the files of /proc/sys, and with them the kernel: core_pattern
    // names a program that the machine runs.
    ...options('--remount-ro /proc'),
    '--chdir',
    cwd,
    '--',
  ];
}

function options(text: string): string[] {
  return text.split(' ');
}

function mount({ path, view }: PathRule, size: string[]): string[] {
  switch (view) {
    case 'writable':
      return ['--bind', path, path];
    case 'readable':
    case 'kept':
      return ['--ro-bind', path, path];
    case 'private':
      return [...size, '--tmpfs', path];
    case 'hidden-folder':
      return ['--tmpfs', path];
    case 'hidden-file':
      // Mounted without devices, it cannot even be opened.
      return ['--ro-bind', '/dev/null', path];
  }
}

/** Parents before what lies in them; without rules that change nothing, and with what keeps the others in place. */
function orderedRules(rules: readonly PathRule[]): PathRule[] {
  const byPath = new Map<string, PathRule>();
  for (const rule of rules) {
    const known = byPath.get(rule.path);
    if (known === undefined || strictness(rule) > strictness(known)) byPath.set(rule.path, rule);
  }
  for (const { path, isFixed } of rules) {
    // Where a command can put a link, mounting what it leads to would be worse than what this prevents.
    if (isFixed !== true) continue;
    for (const pin of pinsFor(path, byPath)) byPath.set(pin.path, pin);
  }
  const ordered = [...byPath.values()].sort(
    (a, b) => depth(a.path) - depth(b.path) || (a.path < b.path ? -1 : 1),
  );
  return ordered.filter((rule) => {
    const above = nearestAbove(rule.path, byPath);
    const isGone = above === 'private' || above === 'hidden-folder' || above === 'hidden-file';
    if (rule.view === 'hidden-folder' || rule.view === 'hidden-file') return !isGone;
    if (rule.view === 'kept') return above === 'writable';
    return rule.view !== 'private' || above !== 'private';
  });
}

/**
 * A mounted folder cannot be renamed by a command, but the folder around it can, and the next
 * command would find its content under another name. So each folder between the writable root and
 * a rule is mounted too.
 */
function pinsFor(path: string, byPath: ReadonlyMap<string, PathRule>): PathRule[] {
  if (nearestAbove(path, byPath) !== 'writable') return [];
  const pins: PathRule[] = [];
  for (let at = parent(path); !byPath.has(at); at = parent(at)) {
    pins.push({ path: at, view: 'writable', isFixed: true });
  }
  return pins;
}

function nearestAbove(
  path: string,
  byPath: ReadonlyMap<string, PathRule>,
): PathRule['view'] | undefined {
  for (let at = path; at !== '/';) {
    at = parent(at);
    const rule = byPath.get(at);
    if (rule !== undefined) return rule.view;
  }
  return undefined;
}

function strictness({ view }: PathRule): number {
  return ['private', 'writable', 'kept', 'readable', 'hidden-folder', 'hidden-file'].indexOf(view);
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

function depth(path: string): number {
  return path === '/' ? 0 : path.split('/').length - 1;
}
