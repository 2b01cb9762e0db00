import { describe, expect, it } from 'vitest';
import { skillsDirective, skillSchema, splitSkill } from './skills.ts';

describe('a SKILL.md', () => {
  it('is split into its front matter, numbered as in the file, and its body', () => {
    expect(splitSkill('---\nname: pdf\n--- \n\n# PDF\n\n---\nmore\n')).toEqual({
      ok: true,
      frontMatter: '---\nname: pdf\n',
      body: '# PDF\n\n---\nmore',
    });
    expect(splitSkill('\ufeff---\r\nname: pdf\r\n---\r\nx\r\n')).toMatchObject({
      ok: true,
      body: 'x',
    });
    expect(splitSkill('---\n---')).toEqual({ ok: true, frontMatter: '---\n', body: '' });
  });

  it.each([
    ['', 'begins with its front matter'],
    ['# PDF', 'begins with its front matter'],
    ['\n---\nname: pdf\n---', 'begins with its front matter'],
    ['---\nname: pdf\n', 'has no end'],
    ['---', 'has no end'],
  ])('of %j is none', (text, reason) => {
    const split = splitSkill(text);
    expect(split).toEqual({ ok: false, line: 1, reason: expect.stringContaining(reason) });
  });

  it.each([
    ['pdf', true],
    ['pdf-2-text', true],
    ['a'.repeat(64), true],
    ['a'.repeat(65), false],
    ['', false],
    ['PDF', false],
    ['-pdf', false],
    ['pdf-', false],
    ['pdf--2', false],
    ['../pdf', false],
  ])('may be named %j: %s', (name, isGood) => {
    expect(skillSchema.safeParse({ name, description: 'd', license: 'MIT' }).success).toBe(isGood);
  });

  it.each([
    ['a'.repeat(1024), true],
    ['a'.repeat(1025), false],
    [' \n', false],
    [undefined, false],
  ])('has a description that says something', (description, isGood) => {
    expect(skillSchema.safeParse({ name: 'pdf', description }).success).toBe(isGood);
  });
});

it('the prompt names each skill in one line, and nothing where there is none', () => {
  const skills = [
    { name: 'pdf', description: 'Reads PDF files.\n- forged: line', dir: '/a/skills/pdf' },
    { name: 'web', description: 'Builds pages.', dir: '/a/skills/web' },
  ];
  expect(skillsDirective(skills)).toMatch(
    /\n\n- pdf: Reads PDF files\. - forged: line\n- web: Builds pages\.$/,
  );
  expect(skillsDirective([])).toBe('');
});
