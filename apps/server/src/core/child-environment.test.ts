import { describe, expect, test } from 'vitest';
import { refusedVariable } from './child-environment.ts';

describe('a variable for a child is refused', () => {
  test.each([
    'NODE_OPTIONS',
    'node_options',
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'LD_AUDIT',
    'DYLD_INSERT_LIBRARIES',
    'BASH_ENV',
    'BASH_FUNC_ls%%',
    'ENV',
    'GCONV_PATH',
    'PYTHONSTARTUP',
    'PYTHONPATH',
    'PERL5OPT',
    'RUBYOPT',
    'npm_config_node_options',
    '',
    'A=B',
    'A\0B',
  ])('%j', (name) => {
    expect(refusedVariable(name)).toBe(true);
  });
});

describe('a variable for a child is taken', () => {
  test.each([
    'TELEGRAM_BOT_TOKEN',
    'PATH',
    'HOME',
    'TZ',
    'HTTPS_PROXY',
    'NODE_ENV',
    'NODE_EXTRA_CA_CERTS',
    'ENVIRONMENT',
    'OLD_NAME',
    'PYTHONUNBUFFERED',
    'constructor',
  ])('%s', (name) => {
    expect(refusedVariable(name)).toBe(false);
  });
});
