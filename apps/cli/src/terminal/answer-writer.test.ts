import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { AnswerWriter } from './answer-writer.ts';

function setUp() {
  let text = '';
  const out = new Writable({
    write(chunk: Buffer, _, done) {
      text += chunk.toString();
      done();
    },
  });
  return { writer: new AnswerWriter(out), written: () => text };
}

const at = (step: number, attempt: number) => ({ turn: 't', step, attempt });

describe('AnswerWriter', () => {
  it('writes an answer as it comes, and ends its line', () => {
    const { writer, written } = setUp();
    writer.add({ ...at(1, 1), offset: 0, text: 'Hel' });
    expect(written()).toBe('Hel');
    writer.add({ ...at(1, 1), offset: 3, text: 'lo' });
    writer.settle(at(1, 1), 'Hello');
    writer.end();
    expect(written()).toBe('Hello\n');
  });

  it('writes no second line end', () => {
    const { writer, written } = setUp();
    writer.settle(at(1, 1), 'Hello\n');
    expect(written()).toBe('Hello\n');
  });

  it('goes on seamlessly when the answer is given again and says the same', () => {
    const { writer, written } = setUp();
    writer.add({ ...at(1, 1), offset: 0, text: 'Hello wor' });
    writer.add({ ...at(1, 2), offset: 0, text: 'Hello ' });
    writer.add({ ...at(1, 2), offset: 6, text: 'world' });
    writer.settle(at(1, 2), 'Hello world');
    expect(written()).toBe('Hello world\n');
  });

  it('writes on a new line what is said differently', () => {
    const { writer, written } = setUp();
    writer.add({ ...at(1, 1), offset: 0, text: 'Hello wor' });
    writer.add({ ...at(1, 2), offset: 0, text: 'Help' });
    writer.settle(at(1, 2), 'Help is near');
    expect(written()).toBe('Hello wor\nHelp is near\n');
  });

  it('writes an answer that is a beginning of the one before', () => {
    const { writer, written } = setUp();
    writer.add({ ...at(1, 1), offset: 0, text: 'Hello world' });
    writer.settle(at(1, 2), 'Hello');
    expect(written()).toBe('Hello world\nHello\n');
  });

  it('sets steps apart, and drops control sequences', () => {
    const { writer, written } = setUp();
    writer.settle(at(1, 1), 'one\x1b[2J');
    writer.settle(at(2, 1), 'two');
    expect(written()).toBe('one\ntwo\n');
  });
});
