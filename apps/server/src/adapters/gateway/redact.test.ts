import { expect, test } from 'vitest';
import { redactorOf } from './redact.ts';

test('every text of eight characters or more goes, however deep', () => {
  const redact = redactorOf({
    token: '123:abcdef',
    nested: [{ key: 'second-secret' }],
    n: 12345678,
  });
  expect(redact('GET /bot123:abcdef/x second-secret')).toBe('GET /bot[redacted]/x [redacted]');
  expect(redact('12345678')).toBe('12345678');
});

test('short texts stay', () => {
  const redact = redactorOf({ mode: 'polling' });
  expect(redact('polling starts')).toBe('polling starts');
});

test('a secret within another leaves nothing of the longer', () => {
  const redact = redactorOf(['12345678', '12345678-tail']);
  expect(redact('12345678-tail')).toBe('[redacted]');
});

test('a secret is found as JSON and as a URL write it, and by each line of it', () => {
  const redact = redactorOf({ a: 'pass"word/1', b: 'first-line\nsecond-line' });
  expect(redact(JSON.stringify({ e: 'pass"word/1' }))).toBe('{"e":"[redacted]"}');
  expect(redact(`?p=${encodeURIComponent('pass"word/1')}`)).toBe('?p=[redacted]');
  expect(redact('second-line')).toBe('[redacted]');
});

test('the beginning of a secret at the end of a text that was cut goes too', () => {
  const redact = redactorOf({ token: '0123456789abcdef' });
  expect(redact('token 0123456789a')).toBe('token [redacted]');
  expect(redact('token 0123456')).toBe('token 0123456');
});
