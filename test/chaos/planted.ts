import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/** A fault put into the product on purpose: a campaign has to find it. */
export interface PlantedBug {
  what: string;
  edits: readonly Edit[];
}

interface Edit {
  /** From the root. */
  file: string;
  /** Stands in the file once. */
  find: string;
  put: string;
}

const runtime = 'apps/server/src/runtime';

export const plantedBugs: Readonly<Record<string, PlantedBug>> = {
  'ack-before-append': {
    what: 'an arrival is acknowledged to its gateway before it is in the inbox',
    edits: [
      {
        file: `${runtime}/gateways/account.ts`,
        find: `inbound: (event) => this.#receive(event),`,
        put: `inbound: async (event) => void this.#receive(event),`,
      },
    ],
  },
  'offset-at-fetch': {
    what: 'the gateway confirms an update as soon as it has fetched it',
    edits: [
      {
        file: 'gateways/telegram/src/gateway/poller.ts',
        find: `      this.#handle(update, entry);`,
        put: `      this.#handle(update, entry);
      this.#done(entry);`,
      },
    ],
  },
  'no-inbox-key': {
    what: 'the inbox does not know what it has already',
    edits: [
      {
        file: 'apps/server/src/adapters/inbox/inbox-file.ts',
        find: `    if (this.has(key)) return null;
    const first = this.#underWay.get(key);`,
        put: `    const first = null;`,
      },
    ],
  },
  'unhanded-forgotten': {
    what: 'a start does not hand over what is only in the inbox',
    edits: [
      {
        file: `${runtime}/gateways/account.ts`,
        find: `    for (const entry of opened.unhanded) this.#handOver(entry);`,
        put: '',
      },
    ],
  },
  'resend-without-looking': {
    what: 'a part that may be there is sent again without a mark',
    edits: [
      {
        file: `${runtime}/gateways/outlet.ts`,
        find: `{ mark: REPEATED_MARK }`,
        put: `{}`,
      },
    ],
  },
  'cut-is-failed': {
    what: 'a part that was being sent when the server died counts as not sent',
    edits: [
      {
        file: 'apps/server/src/core/session/deliveries.ts',
        find: `      outcome: 'uncertain',
      error: { code: 'interrupted'`,
        put: `      outcome: 'failed',
      error: { code: 'interrupted'`,
      },
    ],
  },
  'delivery-recorded-before-sending': {
    what: 'a part is recorded as delivered before it is sent',
    edits: [
      {
        file: `${runtime}/deliver.ts`,
        find: `    await scope.submit({ type: 'deliver_start', out, part, attempt });`,
        put: `    await scope.submit({ type: 'deliver_start', out, part, attempt });
    await scope.submit(end({ outcome: 'delivered' }));`,
      },
    ],
  },
  'parts-cut-anew': {
    what: 'a text is cut again when it is sent, by other limits',
    edits: [
      {
        file: `${runtime}/deliver.ts`,
        find: `            text: part.prefix + spokenText(event).slice(part.from, part.to) + part.suffix,`,
        put: `            text: cutAnew(spokenText(event), open.part),`,
      },
      {
        file: `${runtime}/deliver.ts`,
        find: `import { type Clock, sleepUntil } from '../ports/clock.ts';`,
        put: `import { type Clock, sleepUntil } from '../ports/clock.ts';
import { splitMessage } from '../core/split.ts';
function cutAnew(text: string, number: number): string {
  const part = splitMessage(text, { maxLength: 3900, unit: 'utf16' })[number - 1];
  return part === undefined ? '' : part.prefix + text.slice(part.from, part.to) + part.suffix;
}`,
      },
    ],
  },
};

/** A copy of this repository in a temporary folder, with faults in it. */
export interface Copy extends AsyncDisposable {
  root: string;
}

const root = path.join(import.meta.dirname, '../..');
const copied = ['package.json', 'protocol', 'apps', 'gateways', 'test'];
const leftOut: ReadonlySet<string> = new Set(['node_modules', 'dist', 'coverage', '.turbo']);

/**
 * Copies the sources and changes the copy; packages are shared with the original.
 * @throws Error when an edit does not fit: the product has changed, and the fault has to be planted anew.
 */
export async function plant(edits: readonly Edit[]): Promise<Copy> {
  const copy = await mkdtemp(path.join(os.tmpdir(), 'duragent-planted-'));
  const dispose = async (): Promise<void> => {
    await rm(copy, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  };
  try {
    for (const name of copied) {
      await cp(path.join(root, name), path.join(copy, name), {
        recursive: true,
        filter: (source) => !leftOut.has(path.basename(source)),
      });
    }
    await linkPackages(copy);
    for (const edit of edits) await change(copy, edit);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { root: copy, [Symbol.asyncDispose]: dispose };
}

/** Packages of others are the original's; our own are the copy's. */
async function linkPackages(copy: string): Promise<void> {
  const [from, to] = [path.join(root, 'node_modules'), path.join(copy, 'node_modules')];
  await mkdir(path.join(to, '@duragent'), { recursive: true });
  for (const name of await readdir(from)) {
    if (name === '@duragent' || name === 'duragent') continue;
    await symlink(path.join(from, name), path.join(to, name));
  }
  const own = { protocol: 'protocol', server: 'apps/server' };
  for (const [name, folder] of Object.entries(own)) {
    await symlink(path.join(copy, folder), path.join(to, '@duragent', name));
  }
  await symlink(path.join(copy, 'apps/cli'), path.join(to, 'duragent'));
}

async function change(copy: string, edit: Edit): Promise<void> {
  await writeFile(path.join(copy, edit.file), await changed(edit, copy));
}

/** @returns the file with the edit in it. @throws Error when the edit does not fit. */
export async function changed({ file, find, put }: Edit, folder = root): Promise<string> {
  const text = await readFile(path.join(folder, file), 'utf8');
  const pieces = text.split(find);
  if (pieces.length !== 2) {
    throw new Error(`${file} holds this ${pieces.length - 1} times, not once:\n${find}`);
  }
  return pieces.join(put);
}
