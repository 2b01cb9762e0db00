import { expect, it } from 'vitest';
import { parseOllamaHost } from './ollama-host.ts';

it.each([
  [undefined, 'http://127.0.0.1:11434'],
  ['', 'http://127.0.0.1:11434'],
  ['1.2.3.4', 'http://1.2.3.4:11434'],
  ['1.2.3.4:80', 'http://1.2.3.4:80'],
  [':1234', 'http://127.0.0.1:1234'],
  ['example.com', 'http://example.com:11434'],
  ['example.com:1', 'http://example.com:1'],
  ['http://example.com', 'http://example.com:80'],
  ['https://example.com', 'https://example.com:443'],
  ['https://example.com:1/', 'https://example.com:1'],
  ['example.com/ollama/', 'http://example.com:11434/ollama'],
  ['[::1]', 'http://[::1]:11434'],
  ['::1', 'http://[::1]:11434'],
  ['[::1', 'http://[::1]:11434'],
  ['///', 'http://127.0.0.1:11434'],
  ['[::1]:80', 'http://[::1]:80'],
  ['0.0.0.0', 'http://127.0.0.1:11434'],
  ['[::]:1', 'http://[::1]:1'],
  [' "1.2.3.4" ', 'http://1.2.3.4:11434'],
])('%j means %s', (variable, url) => {
  expect(parseOllamaHost(variable)).toBe(url);
});

it.each(['host:99999', 'host:', 'host:abc', 'host:-1', 'ftp://host', 'a b', 'user@host', 'a:b:1'])(
  '%j cannot be used',
  (variable) => {
    expect(parseOllamaHost(variable)).toBeNull();
  },
);
