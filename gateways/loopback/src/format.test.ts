import { describe, expect, test } from 'vitest';
import { readConfig, textLength } from './format.ts';

describe('the configuration', () => {
  test('of an empty map is any port, and every capability', () => {
    const config = readConfig({});
    expect(config).toMatchObject({ port: 0, token: null, maxLength: 4096, lengthUnit: 'chars' });
    expect([...config.capabilities].sort()).toEqual(
      'ack delete edit find inline_keyboard media nonce preview reply threads typing'.split(' '),
    );
  });

  test('switches capabilities off', () => {
    const { capabilities } = readConfig({ edit: false, find: false, nonce: true });
    expect(capabilities.has('edit')).toBe(false);
    expect(capabilities.has('find')).toBe(false);
    expect(capabilities.has('nonce')).toBe(true);
  });

  test.each([
    [{ prot: 1 }, 'config.prot is no key'],
    [{ port: 65_536 }, 'config.port takes'],
    [{ port: '80' }, 'config.port takes'],
    [{ token: '' }, 'config.token takes'],
    [{ edit: 'no' }, 'config.edit takes true or false'],
    [{ max_length: 63 }, 'config.max_length takes'],
    [{ length_unit: 'words' }, 'config.length_unit takes utf16, chars or bytes'],
    [{ webhook_url: 'file:///etc/passwd' }, 'config.webhook_url takes an http or https URL'],
    [{ delay_ms: 0.5 }, 'config.delay_ms takes'],
  ])('%j is refused by name', (config, message) => {
    expect(() => readConfig(config)).toThrow(message);
  });
});

test.each([
  ['utf16', 5],
  ['chars', 4],
  ['bytes', 8],
] as const)('a text is as long as %s count', (unit, length) => {
  expect(textLength('aé🙂b', unit)).toBe(length);
});
