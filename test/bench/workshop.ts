import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'rolldown';
import { Processes, type Running } from './processes.ts';

/** Tokens of every answer. */
export const TOKENS = 50;
/** Pause before each token of the paced model, in ms. */
export const PACE_MS = 5;

/** Which model: the one that answers at once, or the one that pauses before each token. */
export type Pace = 'fast' | 'paced';
export const paces: readonly Pace[] = ['fast', 'paced'];

const root = path.join(import.meta.dirname, '../..');
const bundle = path.join(root, 'apps/cli/dist/duragent.js');
const telegram = path.join(root, 'gateways/telegram');

/** The programs that are compared. */
export interface Programs {
  duragent: string;
  floor: string;
  hello: string;
  empty: string;
  /** The floor of the gateways' rows, and the gateway that both are measured with. */
  gatewayFloor: string;
  gateway: string;
  telegram: string;
  importGrammy: string;
}

/** All that the measurements share: a temporary directory, programs, processes and the models. */
export class Workshop implements AsyncDisposable {
  readonly directory: string;
  readonly processes: Processes;
  readonly programs: Programs;
  /** Figures that could not be measured here, and why. */
  readonly leftOut: string[] = [];
  readonly #models = new Map<Pace, ModelProcess>();
  #names = 0;

  private constructor(directory: string) {
    this.directory = directory;
    // Nothing of the environment gets in: a key of a provider, an option of Node.
    this.processes = new Processes({
      PATH: process.env['PATH'],
      HOME: directory,
      NODE_COMPILE_CACHE: path.join(directory, 'compile-cache'),
    });
    const floors = path.join(directory, 'floors');
    this.programs = {
      duragent: bundle,
      floor: path.join(floors, 'floor-server', 'main.js'),
      hello: path.join(floors, 'hello', 'main.js'),
      empty: path.join(floors, 'empty.js'),
      gatewayFloor: path.join(floors, 'gateway-floor', 'main.js'),
      gateway: path.join(floors, 'scripted-gateway', 'main.js'),
      telegram: path.join(telegram, 'dist/duragent-gateway-telegram.js'),
      importGrammy: path.join(floors, 'import-grammy', 'main.js'),
    };
  }

  /** Bundles the floors and starts the models. */
  static async open(): Promise<Workshop> {
    const workshop = new Workshop(mkdtempSync(path.join(tmpdir(), 'duragent-bench-')));
    try {
      await workshop.#bundleFloors();
      workshop.#models.set('fast', await ModelProcess.start(workshop, 0));
      workshop.#models.set('paced', await ModelProcess.start(workshop, PACE_MS));
      return workshop;
    } catch (error) {
      await workshop[Symbol.asyncDispose]();
      throw error;
    }
  }

  model(pace: Pace): ModelProcess {
    const model = this.#models.get(pace);
    if (model === undefined) throw new Error(`the ${pace} model does not run`);
    return model;
  }

  /** A new empty directory. */
  newDirectory(name: string): string {
    const directory = path.join(this.directory, `${name}-${++this.#names}`);
    mkdirSync(directory);
    return directory;
  }

  /** Bundled, and begun with the compile cache on, as Duragent is; but for the script that is empty. */
  async #bundleFloors(): Promise<void> {
    const sources = path.join(import.meta.dirname, 'floors');
    const programs = [
      'floor-server',
      'hello',
      'gateway-floor',
      'scripted-gateway',
      'import-grammy',
    ];
    for (const name of programs) {
      const directory = path.join(this.directory, 'floors', name);
      await build({
        input: { bundle: path.join(sources, `${name}.ts`) },
        platform: 'node',
        // depd, below koa, uses eval to name its deprecated functions.
        onLog: (level, log, handle) => log.code === 'EVAL' || handle(level, log),
        output: { dir: directory, format: 'esm', entryFileNames: '[name].js' },
      });
      const entry = `import module from 'node:module';\nmodule.enableCompileCache();\nawait import('./bundle.js');\n`;
      writeFileSync(path.join(directory, 'main.js'), entry);
    }
    writeFileSync(path.join(this.directory, 'floors', 'package.json'), '{"type":"module"}\n');
    writeFileSync(this.programs.empty, '');
  }

  /** The end of every log, for people who look into a failure. */
  logs(): string {
    try {
      return readFileSync(path.join(this.directory, 'processes.log'), 'utf8').slice(-4000);
    } catch (error) {
      return String(error);
    }
  }

  get log(): string {
    return path.join(this.directory, 'processes.log');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.processes[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A process of the loopback model server. */
export class ModelProcess {
  readonly url: string;
  readonly #lines: AsyncIterator<string>;
  readonly #running: Running;

  private constructor(running: Running, lines: AsyncIterator<string>, url: string) {
    this.#running = running;
    this.#lines = lines;
    this.url = url;
  }

  static async start(workshop: Workshop, delayMs: number): Promise<ModelProcess> {
    const script = path.join(root, 'test/support/model-server-main.ts');
    const args = ['--conditions=@duragent/source', script];
    const running = workshop.processes.start(
      [...args, '--tokens', String(TOKENS), '--delay', String(delayMs)],
      { cwd: workshop.directory, log: workshop.log, talks: true },
    );
    const { stdout } = running.process;
    if (stdout === null) throw new Error('the model server has no stdout');
    const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    const { url } = await readLine<{ url: string }>(lines);
    return new ModelProcess(running, lines, url);
  }

  /** How many answers have gone out whole. */
  async finished(): Promise<number> {
    this.#running.process.stdin?.write('\n');
    return (await readLine<{ finished: number }>(this.#lines)).finished;
  }
}

async function readLine<T>(lines: AsyncIterator<string>): Promise<T> {
  const line = await lines.next();
  if (line.done) throw new Error('the model server ended');
  return JSON.parse(line.value) as T;
}
