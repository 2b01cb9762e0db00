/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface SubstitutionFault {
  /** The text of the reference, as it is written. */
  reference: string;
  message: string;
}

/** A variable whose value was put in. */
export interface Variable {
  name: string;
  value: string;
}

/**
 * Fills `${VAR}` and `${VAR:-default}` from the environment and turns `$$` into `$`. The default
 * also stands for a variable that is empty. What is put in is never looked at again.
 */
export function substitute(
  text: string,
  env: Environment,
): { text: string; faults: SubstitutionFault[]; variables: Variable[] } {
  const faults: SubstitutionFault[] = [];
  const variables: Variable[] = [];
  const filled = text.replace(/\$\$|\$\{([^{}]*)\}|\$\{/g, (reference, inner?: string) => {
    if (reference === '$$') return '$';
    const match = inner === undefined ? null : /^([A-Za-z_]\w*)(?::-(.*))?$/s.exec(inner);
    if (match === null) {
      const message = 'write ${NAME} or ${NAME:-default}, and $$ for a dollar sign';
      faults.push({ reference, message });
      return '';
    }
    const [, name = '', fallback] = match;
    const value = env[name];
    if (fallback !== undefined && (value === undefined || value === '')) return fallback;
    if (value !== undefined) {
      variables.push({ name, value });
      return value;
    }
    const message = `the variable ${name} is not set; set it, or write \${${name}:-default}`;
    faults.push({ reference, message });
    return '';
  });
  return { text: filled, faults, variables };
}
