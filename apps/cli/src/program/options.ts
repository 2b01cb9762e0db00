import { InvalidArgumentError, Option } from 'commander';

/** `-o table|json`, of what prints a list or a thing. */
export function tableOrJson(): Option {
  return new Option('-o, --output <format>', 'how to print it')
    .choices(['table', 'json'])
    .default('table');
}

/** @throws InvalidArgumentError for what is no whole number from 1 to `most` */
export function readCount(text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw new InvalidArgumentError(`Give a whole number, from 1 to ${String(most)}.`);
}
