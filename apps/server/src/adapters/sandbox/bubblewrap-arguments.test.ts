import { describe, expect, test } from 'vitest';
import { bubblewrapArguments, type BubblewrapPlan, type PathRule } from './bubblewrap-arguments.ts';

const newest = { userNamespace: true, disableUserns: true, tmpfsSize: true };

function argumentsFor(rules: PathRule[], more: Partial<BubblewrapPlan> = {}): string[] {
  return bubblewrapArguments({
    rules,
    cwd: '/ws',
    network: 'none',
    diesWithParent: true,
    terminal: false,
    features: newest,
    ...more,
  });
}

/** What is mounted by the rules, in order: option and path. */
function mounts(rules: PathRule[]): string[] {
  const words = argumentsFor(rules, { features: { ...newest, tmpfsSize: false } });
  const own = words.slice(
    words.indexOf('/proc', words.indexOf('--proc')) + 1,
    words.indexOf('--chdir'),
  );
  const found: string[] = [];
  for (let at = 0; at < own.length;) {
    const isPair = own[at]?.endsWith('bind') === true;
    found.push(`${own[at]} ${own[at + (isPair ? 2 : 1)]}`);
    at += isPair ? 3 : 2;
  }
  return found.slice(0, -1);
}

const workspace: PathRule = { path: '/ws', view: 'writable', isFixed: true };

describe('the options of bwrap', () => {
  test('shut off everything that can be', () => {
    const words = argumentsFor([workspace]);
    for (const option of ['--unshare-all', '--unshare-user', '--disable-userns']) {
      expect(words).toContain(option);
    }
    for (const option of ['--die-with-parent', '--new-session', '--as-pid-1']) {
      expect(words).toContain(option);
    }
    expect(words).not.toContain('--share-net');
    expect(words.join(' ')).toContain('--cap-drop ALL --ro-bind / / --dev /dev --proc /proc');
    expect(words.slice(-5)).toEqual(['--remount-ro', '/proc', '--chdir', '/ws', '--']);
  });

  test.each([
    [{ network: 'all' }, '--share-net', true],
    [{ diesWithParent: false }, '--die-with-parent', false],
    [{ terminal: true }, '--new-session', false],
    [{ features: { ...newest, disableUserns: false } }, '--disable-userns', false],
    [{ features: { ...newest, userNamespace: false } }, '--unshare-user', false],
    [{ features: { ...newest, userNamespace: false } }, '--disable-userns', false],
  ] as const)('follow %j', (more, option, isThere) => {
    expect(argumentsFor([workspace], more).includes(option)).toBe(isThere);
  });

  test('bound what a private folder may hold, where bwrap can', () => {
    const rules: PathRule[] = [{ path: '/tmp', view: 'private' }];
    expect(argumentsFor(rules).join(' ')).toMatch(/--size \d+ --tmpfs \/tmp/);
    const features = { ...newest, tmpfsSize: false };
    expect(argumentsFor(rules, { features })).not.toContain('--size');
  });

  test('mount folders before what lies in them, whatever the order of the rules', () => {
    const rules: PathRule[] = [
      { path: '/ws/data/agents/me', view: 'readable' },
      { path: '/ws/data', view: 'hidden-folder' },
      workspace,
      { path: '/ws/.env', view: 'hidden-file' },
    ];
    const expected = [
      '--bind /ws',
      '--ro-bind /ws/.env',
      '--tmpfs /ws/data',
      '--ro-bind /ws/data/agents/me',
      '--remount-ro /ws/data',
    ];
    expect(mounts(rules)).toEqual(expected);
    expect(mounts(rules.toReversed())).toEqual(expected);
  });

  test('let a workspace out of a hidden home', () => {
    const home: PathRule = { path: '/home', view: 'private' };
    const rule: PathRule = { path: '/home/me/work', view: 'writable' };
    expect(mounts([rule, home])).toEqual(['--tmpfs /home', '--bind /home/me/work']);
  });

  test('hide nothing twice', () => {
    const rules: PathRule[] = [
      { path: '/home', view: 'private' },
      { path: '/home/me', view: 'private' },
      { path: '/home/me/.ssh', view: 'hidden-folder' },
      { path: '/home/me/.netrc', view: 'hidden-file' },
    ];
    expect(mounts(rules)).toEqual(['--tmpfs /home']);
  });

  test('take the stricter of two rules for one path', () => {
    const rules: PathRule[] = [
      { path: '/ws', view: 'hidden-folder' },
      { path: '/ws', view: 'writable' },
    ];
    expect(mounts(rules)).toEqual(['--tmpfs /ws', '--remount-ro /ws']);
    expect(mounts(rules.toReversed())).toEqual(['--tmpfs /ws', '--remount-ro /ws']);
  });

  test('keep only what could be changed, and show nothing hidden by that', () => {
    const rules: PathRule[] = [
      workspace,
      { path: '/ws/duragent.yaml', view: 'kept' },
      { path: '/etc/duragent.yaml', view: 'kept' },
      { path: '/home', view: 'private' },
      { path: '/home/me/duragent.yaml', view: 'kept' },
    ];
    expect(mounts(rules)).toEqual(['--tmpfs /home', '--bind /ws', '--ro-bind /ws/duragent.yaml']);
  });

  test('fix the folders between a workspace and what is hidden in it, against renaming', () => {
    const deep: PathRule = { path: '/ws/a/b/data', view: 'hidden-folder', isFixed: true };
    expect(mounts([workspace, deep])).toEqual([
      '--bind /ws',
      '--bind /ws/a',
      '--bind /ws/a/b',
      '--tmpfs /ws/a/b/data',
      '--remount-ro /ws/a/b/data',
    ]);
  });

  test('mount no folder that a command could have swapped for a link', () => {
    const deep: PathRule = { path: '/ws/a/.env', view: 'hidden-file' };
    expect(mounts([workspace, deep])).toEqual(['--bind /ws', '--ro-bind /ws/a/.env']);
  });
});
