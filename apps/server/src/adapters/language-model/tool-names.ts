import { createHash } from 'node:crypto';

/** What every provider takes as a tool's name. */
const PLAIN = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_LENGTH = 64;

/**
 * A tool's name as providers take it: `github:create_issue` becomes `github__create_issue`. Always the
 * same for the same name, so that prompts stay byte-identical, and never the same for two.
 */
export function wireName(name: string): string {
  if (PLAIN.test(name) && !name.includes('__')) return name;
  const safe = name.replace(':', '__').replace(/[^A-Za-z0-9_-]/g, '_');
  if (safe.length <= MAX_LENGTH && safe.replace('__', ':') === name) return safe;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${safe.slice(0, MAX_LENGTH - 9)}_${digest}`;
}

/** The tool that a model means by a name as the provider took it; one that is not known stays as it is. */
export function toolNamed(tools: readonly { name: string }[], wire: string): string {
  return tools.find(({ name }) => wireName(name) === wire)?.name ?? wire;
}
