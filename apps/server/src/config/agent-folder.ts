import { basename, join, resolve } from 'node:path';
import type { Agent, FileFault } from '../core/agent.ts';
import {
  agentDocumentSchema,
  agentFromDocument,
  agentKeysWithoutEffect,
  agentTexts,
  defaultSpec,
  modelsOf,
  type AgentDocument,
  type AgentText,
} from '../core/agent-spec.ts';
import { type BudgetRules, noBudgetRules } from '../core/budget/budget-rules.ts';
import { limitsOf } from '../core/budget/limits.ts';
import { usesTime } from '../core/templates.ts';
import { readSkills } from './agent-skills.ts';
import { changedKeys } from './changed-keys.ts';
import { readDirectives } from './directives.ts';
import { openFolder, type Folder } from './folder.ts';
import { priceFaults } from './model-prices.ts';
import { readYaml } from './yaml-file.ts';
import type { Path } from './yaml-issues.ts';

/** What the files of an agent's folder say. */
export interface AgentReading {
  /** null exactly when there are faults. */
  agent: Agent | null;
  faults: FileFault[];
  /** What loads and does not do what one may expect. */
  warnings: FileFault[];
  /** Whether all files that were read, or would have been, are as they were. */
  unchanged(): Promise<boolean>;
}

/**
 * Reads an agent from its folder: agent.yaml, the texts it names, its directives and skills. Nothing outside
 * the folder is read, also not by symbolic links. What is wrong with the files is a value.
 * @param rules what holds now; another object exactly where that has changed.
 */
export async function readAgentFolder(
  dir: string,
  rules: () => BudgetRules = () => noBudgetRules,
): Promise<AgentReading> {
  const folder = openFolder(dir);
  const checkedWith = rules();
  // Another budget or price may make it load, or not.
  const unchanged = async (): Promise<boolean> =>
    rules() === checkedWith && (await folder.unchanged());
  const file = join(dir, 'agent.yaml');
  const start = (message: string): FileFault => ({ file, line: 1, column: 1, message });
  const source = await folder.read('agent.yaml');
  if (!source.ok) {
    const reason = source.missing ? 'there is no agent.yaml in this folder' : source.reason;
    return { agent: null, faults: [start(reason)], warnings: [], unchanged };
  }
  const yaml = readYaml<AgentDocument>(source.text, file, agentDocumentSchema);
  if (!yaml.ok) return { agent: null, faults: yaml.faults, warnings: [], unchanged };

  const document = yaml.value;
  const place = (path: Path, message: string): FileFault =>
    yaml.at(path, message) ?? start(message);
  const spec = await readSpec(dir, folder, document, { place, rules: checkedWith });
  const faults = [...nameFaults(dir, document, place), ...spec.faults];
  const agent = agentFromDocument(document, { home: resolve(dir), hash: folder.hash(), ...spec });
  return { agent: faults.length > 0 ? null : agent, faults, warnings: spec.warnings, unchanged };
}

type Placing = (path: Path, message: string) => FileFault;

function nameFaults(dir: string, { form, metadata }: AgentDocument, place: Placing): FileFault[] {
  const folder = basename(resolve(dir));
  if (metadata.name === folder) return [];
  const path = form === 'long' ? ['metadata', 'name'] : ['name'];
  const message = `the agent is named "${metadata.name}" and its folder "${folder}"; make them the same`;
  return [place(path, message)];
}

/** What `spec` takes from other files, and what is to be said about its keys. */
async function readSpec(
  dir: string,
  folder: Folder,
  { form, spec }: AgentDocument,
  { place, rules }: { place: Placing; rules: BudgetRules },
) {
  const at: Placing = (path, message) => place(form === 'long' ? ['spec', ...path] : path, message);
  const faults: FileFault[] = [];
  const warnings: FileFault[] = [];
  const texts = { soul: '', system_prompt: '', instructions: '' };
  for (const key of Object.keys(agentTexts) as AgentText[]) {
    const text = await readText(folder, spec[key], agentTexts[key]);
    if (!text.ok) {
      faults.push(at([key], `${key}: ${text.reason}`));
      continue;
    }
    texts[key] = text.text;
    if (text.file === null && isFileName(text.text)) {
      const message = `${key}: there is no file ${text.text}, so this is the text itself; write ./${text.text}`;
      warnings.push(at([key], message));
    }
    if (!usesTime(text.text)) continue;
    const message = '{{time}} changes the prompt at every turn, so that prompt caches never hit';
    warnings.push(text.file === null ? at([key], message) : timeAt(text.file, text.text, message));
  }
  const models = modelsOf(spec);
  for (const [index, model] of models.entries()) {
    if (model.provider !== 'script') continue;
    const script = await folder.locate(model.name);
    const path = index === 0 ? ['model'] : ['model', 'fallback', index - 1];
    if (script.ok) models[index] = { ...model, name: script.path };
    else faults.push(at(path, `the script ${model.name}: ${script.reason}`));
  }
  faults.push(...priceFaults(models, limitsOf(spec.budget), rules, at));
  const skills = await readSkills(folder, dir, spec.skills_dir);
  if (skills.reason !== null) faults.push(at(['skills_dir'], `skills_dir: ${skills.reason}`));
  faults.push(...skills.faults);
  const directives = await readDirectives(folder, dir);
  faults.push(...directives.faults);
  warnings.push(...skills.warnings);
  for (const path of changedKeys(spec, defaultSpec, agentKeysWithoutEffect)) {
    warnings.push(at(path, `${path.join('.')} is checked but has no effect in this version`));
  }
  const order = ({ file }: FileFault): number => (file.endsWith('.yaml') ? 0 : 1);
  warnings.sort((a, b) => order(a) - order(b) || a.line - b.line || a.column - b.column);
  const { text } = directives;
  return { faults, warnings, texts, models, directives: text, skills: skills.skills };
}

type Text = { ok: true; text: string; file: string | null } | { ok: false; reason: string };

/** A text that is written in place, or in the file that is named, or in the usual file. */
async function readText(
  folder: Folder,
  written: string | null | undefined,
  usual: string,
): Promise<Text> {
  if (written === null) return { ok: true, text: '', file: null };
  const path = written ?? usual;
  const named = /^\.\.?\//.test(path);
  if (!named && !isFileName(path)) return { ok: true, text: path, file: null };
  const reading = await folder.read(path);
  if (reading.ok) return { ok: true, text: reading.text, file: reading.file };
  if (reading.missing && !named) return { ok: true, text: written ?? '', file: null };
  return { ok: false, reason: `${path}: ${reading.reason}` };
}

function isFileName(text: string): boolean {
  return text.endsWith('.md') && !text.includes('\n');
}

function timeAt(file: string, text: string, message: string): FileFault {
  const before = text.slice(0, text.indexOf('{{time}}')).split('\n');
  return { file, line: before.length, column: (before.at(-1)?.length ?? 0) + 1, message };
}
