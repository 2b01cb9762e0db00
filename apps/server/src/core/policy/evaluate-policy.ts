import type { FileFault } from '../agent.ts';
import { spellingsOf } from './command-spellings.ts';
import { matchesGlob } from './glob.ts';
import { parsePlainCommand, writePlainCommand } from './plain-command.ts';
import type { PolicyCall } from './policy-call.ts';
import type { LoadedPolicy, Policies, PolicyFile, PolicyMode } from './policy-file.ts';
import {
  allowsCommand,
  allowsTool,
  readAllowRule,
  type AllowRule,
  type WatchRule,
} from './policy-rule.ts';

/** What a policy says of a call. */
export interface PolicyVerdict {
  decision: 'allow' | 'ask' | 'deny';
  /** Why, for people and for the model: which rule of which file, or what is missing. */
  reason: string;
  /** Whether people want to be told of it, whatever the decision. */
  notify: boolean;
  /** The rule that allows exactly this from now on; null unless a person is asked and there is such a rule. */
  always: string | null;
  /** It is denied because a policy does not load, and by no rule. */
  isFault?: true;
}

/** The longest command, and the longest arguments, that are judged, in UTF-16 units. */
const MAX_COMMAND = 131_072;
const MAX_ARGUMENTS = 1_048_576;

const SOURCES = [
  ['local', 'policy.local.yaml of the agent'],
  ['agent', 'policy.yaml of the agent'],
  ['workspace', 'policy.yaml of the workspace'],
] as const satisfies [keyof Policies, string][];

/**
 * Judges a call. A rule of `deny` stops it in every mode; then the most specific mode decides
 * (`policy.local.yaml`, the agent's, the workspace's; `ask` where none is set) over the rules of all
 * files. Never throws: what cannot be judged is denied, and so is everything while a file does not load.
 */
export function evaluatePolicy(loaded: LoadedPolicy, call: PolicyCall): PolicyVerdict {
  if (loaded.policies === null) return { ...denied(faultReason(loaded)), isFault: true };
  try {
    return judge(loaded.policies, subjectOf(call));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return denied(`the call cannot be judged (${why})`);
  }
}

function faultReason({ faults }: { faults: readonly FileFault[] }): string {
  const [fault] = faults;
  const where =
    fault === undefined ? 'a policy file' : `${fault.file}:${fault.line}:${fault.column}`;
  const what = fault === undefined ? 'it does not load' : fault.message;
  return `nothing is allowed until ${where} is mended: ${what}`;
}

function denied(reason: string, notify = false): PolicyVerdict {
  return { decision: 'deny', reason, notify, always: null };
}

/** A call as rules see it. */
interface Subject {
  kind: PolicyCall['kind'];
  harmless: boolean;
  /** Why it is not judged; null: it is. */
  tooLarge: string | null;
  allowedBy(rule: AllowRule): boolean;
  watchedBy(rule: WatchRule): boolean;
  /** Whether rules that stop calls may have missed something. */
  isTangled(): boolean;
  /** Why no rule can allow it; null: one can. */
  whyNoRule: string | null;
  /** The rule that would allow exactly this, as far as it can be written. */
  rule: string | null;
}

function judge(policies: Policies, subject: Subject): PolicyVerdict {
  if (subject.tooLarge !== null) return denied(subject.tooLarge);
  const notify = find(policies, 'notify', (rule) => subject.watchedBy(rule)) !== null;
  const stop = find(policies, 'deny', (rule) => subject.watchedBy(rule));
  if (stop !== null) return denied(`${stop} denies it`, notify);
  const watches = SOURCES.some(([source]) =>
    policies[source]?.deny.some((rule) => concerns(rule, subject)),
  );
  if (watches && subject.isTangled()) {
    return denied('it holds more commands than can be checked against the rules that deny', notify);
  }

  const { mode, from } = modeOf(policies);
  switch (mode) {
    case 'dangerous':
      return {
        decision: 'allow',
        reason: `mode dangerous (${from}) allows it`,
        notify,
        always: null,
      };
    case 'ask':
    case 'restrict':
      break;
    default:
      return denied(
        `the mode ${JSON.stringify(mode satisfies never)} is unknown (${from})`,
        notify,
      );
  }
  const pass = find(policies, 'allow', (rule) => subject.allowedBy(rule));
  if (pass !== null)
    return { decision: 'allow', reason: `${pass} allows it`, notify, always: null };
  const why =
    subject.whyNoRule === null ? 'no rule allows it' : `no rule can allow it: ${subject.whyNoRule}`;
  if (mode === 'restrict') return denied(`${why}, and mode restrict (${from}) asks nobody`, notify);
  if (subject.harmless) {
    return { decision: 'allow', reason: 'it is harmless', notify, always: null };
  }
  return { decision: 'ask', reason: why, notify, always: storable(subject) };
}

function modeOf(policies: Policies): { mode: PolicyMode; from: string } {
  for (const [source, name] of SOURCES) {
    const mode = policies[source]?.mode ?? null;
    if (mode !== null) return { mode, from: name };
  }
  return { mode: 'ask', from: 'without a policy.yaml' };
}

/** The first rule of a list that fits, in words; null: none does. */
function find<L extends 'deny' | 'allow' | 'notify'>(
  policies: Policies,
  list: L,
  fits: (rule: PolicyFile[L][number]) => boolean,
): string | null {
  for (const [source, name] of SOURCES) {
    for (const rule of policies[source]?.[list] ?? []) {
      if (fits(rule)) return `"${rule.text}" (${list} in ${name})`;
    }
  }
  return null;
}

function concerns(rule: WatchRule, { kind }: Pick<Subject, 'kind'>): boolean {
  return rule.kind === kind || rule.kind === '*';
}

/** The rule that "Allow always" stores: read back, it has to allow the call. */
function storable(subject: Subject): string | null {
  if (subject.rule === null) return null;
  const read = readAllowRule(subject.rule);
  return 'rule' in read && subject.allowedBy(read.rule) ? subject.rule : null;
}

function subjectOf(call: PolicyCall): Subject {
  switch (call.kind) {
    case 'bash':
      return commandSubject(call.command, call.tool ?? 'bash');
    case 'builtin':
      return toolSubject(
        call.kind,
        call.action === null ? [call.name] : [call.name, call.action],
        call,
      );
    case 'cli':
      return toolSubject(call.kind, [call.name], call);
    case 'mcp':
      return toolSubject(call.kind, [call.server, ...call.name.split(':')], call);
    default:
      throw new Error(`a call of an unknown kind: ${JSON.stringify(call satisfies never)}`);
  }
}

function commandSubject(command: string, tool: string): Subject {
  const tooLarge =
    command.length > MAX_COMMAND
      ? `the command is longer than ${MAX_COMMAND} characters; write it into a file and run that`
      : null;
  const plain = tooLarge === null ? parsePlainCommand(command) : { reason: tooLarge };
  const argv = 'argv' in plain ? plain.argv : null;
  const written = argv === null ? null : writePlainCommand(argv);
  let found: { texts: string[]; isTangled: boolean } | null = null;
  const look = (): { texts: string[]; isTangled: boolean } => {
    if (found !== null) return found;
    const { commands, isTangled } = spellingsOf(command);
    const spaced = command.replace(/\s+/g, ' ').trim();
    const texts = new Set([command, spaced, ...commands].map((text) => text.toLowerCase()));
    found = { texts: [...texts], isTangled };
    return found;
  };
  return {
    kind: 'bash',
    harmless: false,
    tooLarge,
    allowedBy: (rule) => argv !== null && allowsCommand(rule, argv),
    watchedBy(rule) {
      // It is a built-in tool, too, and one that runs commands does what `bash` does.
      if (rule.kind === 'builtin')
        return ['bash', tool].some((name) => matchesGlob(rule.name, name));
      if (rule.kind !== 'bash' && rule.kind !== '*') return false;
      return look().texts.some((text) => rule.command.some((glob) => matchesGlob(glob, text)));
    },
    isTangled: () => look().isTangled,
    whyNoRule: 'reason' in plain ? plain.reason : null,
    rule: written === null ? null : `bash:${written}`,
  };
}

function toolSubject(
  kind: 'builtin' | 'cli' | 'mcp',
  parts: readonly string[],
  {
    args,
    ...call
  }: { args: Readonly<Record<string, unknown>>; harmless?: boolean; isInput?: true },
): Subject {
  const name = parts.join(':');
  const json = JSON.stringify(args);
  let texts: string[] | null = null;
  const look = (): string[] => {
    if (texts !== null) return texts;
    const lower = name.toLowerCase();
    const [first = '', second] = parts;
    // A rule may name all that a tool or a server can do, or something in the arguments.
    texts = [lower, first.toLowerCase()];
    // The model and people know `memory:remember` as `remember`.
    if (kind === 'builtin' && second !== undefined) texts.push(second.toLowerCase());
    texts.push(
      `${lower} ${json.toLowerCase()}`,
      `${lower} ${leavesOf(args).join('\n').toLowerCase()}`,
    );
    return texts;
  };
  return {
    kind,
    harmless: call.harmless === true,
    tooLarge:
      json.length > MAX_ARGUMENTS
        ? `its arguments are longer than ${MAX_ARGUMENTS} characters; make them shorter`
        : null,
    allowedBy: (rule) => allowsTool(rule, kind, parts),
    watchedBy(rule) {
      if (rule.kind !== kind && rule.kind !== '*') return false;
      return look().some((text) => matchesGlob(rule.name, text));
    },
    isTangled: () => false,
    whyNoRule: null,
    rule: !call.isInput && /^[A-Za-z0-9_.:/-]+$/.test(name) ? `${kind}:${name}` : null,
  };
}

/** The names and the values in arguments, as they are without the quotes of JSON. */
function leavesOf(args: unknown): string[] {
  const leaves: string[] = [];
  const values: unknown[] = [args];
  // What is pushed is come to as well.
  for (const value of values) {
    if (typeof value !== 'object' || value === null) {
      leaves.push(String(value));
      continue;
    }
    for (const [key, member] of Object.entries(value)) {
      leaves.push(key);
      values.push(member);
    }
  }
  return leaves;
}
