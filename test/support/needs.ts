import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';

/** Something a test may want that npm cannot bring, and how a person gets it. */
interface Optional {
  /** Whether it is here and works. */
  check: () => boolean;
  howToGet: string;
}

const optionals = {
  tmux: { check: () => runs('tmux', '-V'), howToGet: 'apt-get install tmux' },
  bwrap: {
    // Present is not enough: many containers forbid user namespaces.
    check: () => runs('bwrap', '--unshare-all', '--die-with-parent', '--ro-bind', '/', '/', 'true'),
    howToGet: 'apt-get install bubblewrap, on a kernel that allows user namespaces',
  },
  promtool: { check: () => runs('promtool', '--version'), howToGet: 'apt-get install prometheus' },
  jq: { check: () => runs('jq', '--version'), howToGet: 'apt-get install jq' },
  python3: {
    // The Python gateway of the examples is written for it.
    check: () => runs('python3', '-c', 'import sys; sys.exit(sys.version_info < (3, 8))'),
    howToGet: 'apt-get install python3 (3.8 or newer)',
  },
  chromium: { check: () => runs('chromium', '--version'), howToGet: 'apt-get install chromium' },
} satisfies Record<string, Optional>;

export type Need = keyof typeof optionals;

/** Names the tools whose absence fails the tests that need them, instead of skipping those. */
const requireVariable = 'DURAGENT_TEST_REQUIRE';

/** The file where workers leave what they missed, for the list at the end; set by the global setup. */
export const missingFileVariable = 'DURAGENT_TEST_MISSING_FILE';

const found = new Map<Need, boolean>();

/**
 * Whether an optional tool is here: `describe.skipIf(!needs('tmux'))(…)`. One that is missing is
 * listed when the run ends.
 * @throws Error when `DURAGENT_TEST_REQUIRE` names the tool and it is missing.
 */
export function needs(name: Need): boolean {
  let present = found.get(name);
  if (present === undefined) {
    present = optionals[name].check();
    found.set(name, present);
    if (!present) recordMissing(name);
  }
  if (!present && requiredNeeds().includes(name)) {
    throw new Error(
      `${requireVariable} asks for ${name}, and it is missing or does not work: ${optionals[name].howToGet}`,
    );
  }
  return present;
}

/**
 * The tools that `DURAGENT_TEST_REQUIRE` names.
 * @throws Error when it names one that no test could need.
 */
export function requiredNeeds(): Need[] {
  return (process.env[requireVariable] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => {
      if (Object.hasOwn(optionals, name)) return name as Need;
      const known = Object.keys(optionals).join(', ');
      throw new Error(`${requireVariable} names "${name}"; known are: ${known}`);
    });
}

/** One line for each tool that was missed, from the file the workers wrote. */
export function describeMissing(file: string): string[] {
  if (!existsSync(file)) return [];
  const names = new Set(readFileSync(file, 'utf8').split('\n').filter(Boolean));
  return [...names].sort().map((name) => `${name} (${optionals[name as Need].howToGet})`);
}

function recordMissing(name: Need): void {
  const file = process.env[missingFileVariable];
  if (file !== undefined) appendFileSync(file, `${name}\n`);
}

function runs(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 10_000 }).status === 0;
}
