import { describe, expect, it } from 'vitest';
import { HtmlReader, type HtmlReaderOptions } from './html-reader.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

function read(html: string, options: HtmlReaderOptions = {}, signal = never, maxLength = 1_000) {
  return new HtmlReader(options).read({ html, url: 'https://site.example/', maxLength }, signal);
}

it('reads a page', async () => {
  expect(await read('<title>T</title><h1>A</h1><a href="/x">b</a>')).toEqual({
    ok: true,
    title: 'T',
    text: '# A\n\n[b](https://site.example/x)',
    truncated: false,
  });
});

it('cuts a long text', async () => {
  const answer = await read('<p>Hello', {}, never, 3);
  expect(answer).toMatchObject({ ok: true, text: 'Hel', truncated: true });
});

describe('a page that is made to break it', () => {
  it.each([
    ['of one huge attribute', `<p title="${'x'.repeat(MIB)}">`],
    ['of one huge name', `<${'x'.repeat(MIB)}>`],
    ['of an endless comment', `<!--${'<!--'.repeat(MIB / 4)}`],
  ])('%s is read', async (_, html) => {
    expect(await read(html)).toMatchObject({ ok: true });
  });

  it.each([
    ['of a hundred thousand levels', '<div>'.repeat(100_000), /more than 50000 elements/],
    ['of many levels', '<div>'.repeat(20_000), /nested too deep|could not be parsed/],
    ['of brackets only', '<'.repeat(MIB), /could not be parsed|ran out of memory/],
  ])('%s ends with a reason', async (_, html, reason) => {
    const answer = await read(html, { timeoutMs: 2_000 });
    expect(answer.ok || answer.reason).toMatch(reason);
  });

  it('by filling its memory ends alone', async () => {
    const answer = await read('&amp'.repeat(MIB / 4), { maxHeapMb: 32 });
    expect(answer).toEqual({ ok: false, reason: 'its parser broke or ran out of memory' });
  });

  it('by taking long is stopped', async () => {
    const answer = await read('<p>Hello', { timeoutMs: 1 });
    expect(answer).toEqual({ ok: false, reason: 'it could not be parsed within 0.001 s' });
  });
});

it('stops when it is told to, also one that waits', async () => {
  const reader = new HtmlReader();
  const controller = new AbortController();
  const task = { html: '<'.repeat(MIB), url: 'https://site.example/', maxLength: 10 };
  const answers = Array.from({ length: 4 }, () => reader.read(task, controller.signal));
  controller.abort();
  for (const answer of [
    ...(await Promise.all(answers)),
    await reader.read(task, controller.signal),
  ])
    expect(answer).toEqual({ ok: false, reason: 'it was cancelled' });
  // Its places are free again.
  const after = await reader.read({ ...task, html: '<p>Hello' }, never);
  expect(after).toMatchObject({ ok: true, text: 'Hello' });
});

it('reads as many as there are, and refuses what nobody would wait for', async () => {
  const reader = new HtmlReader();
  const controller = new AbortController();
  const task = { html: '<p>Hi', url: 'https://site.example/', maxLength: 10 };
  const first = Array.from({ length: 4 }, () => reader.read(task, never));
  const others = Array.from({ length: 31 }, () => reader.read(task, controller.signal));
  const last = await Promise.race(others.slice(-1));
  expect(last).toEqual({ ok: false, reason: 'too many pages are being read' });
  controller.abort();
  for (const answer of await Promise.all(first)) expect(answer).toMatchObject({ text: 'Hi' });
  await Promise.all(others);
});
