import { describe, expect, test } from 'vitest';
import { cleanName } from './file.ts';

describe('a file', () => {
  test('gets a name without folders, controls or more than 200 bytes', () => {
    expect(cleanName('/etc/passwd')).toBe('passwd');
    expect(cleanName('..')).toBe('');
    expect(cleanName('a\nb"c:.txt ')).toBe('a_b_c_.txt');
    expect(Buffer.byteLength(cleanName('é'.repeat(500)))).toBe(200);
  });
});
