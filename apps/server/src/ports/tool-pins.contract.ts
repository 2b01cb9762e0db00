import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAX_PINS, type ToolPins } from './tool-pins.ts';

/** What pins are kept in, and stores over it. */
export interface ToolPinsHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): ToolPins;
  dispose(): Promise<void>;
}

function pins(...entries: [string, string][]): ReadonlyMap<string, string> {
  return new Map(entries);
}

/** What every `ToolPins` promises. */
export function toolPinsContract(name: string, makeHarness: () => Promise<ToolPinsHarness>): void {
  describe(name, () => {
    let harness: ToolPinsHarness;
    let store: ToolPins;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(() => harness.dispose());

    test('nothing is remembered of an agent that is new', async () => {
      expect(await store.read('a')).toEqual(pins());
    });

    test('what was pinned is read, also after a restart', async () => {
      await store.pin('a', pins(['github:issue', 'f1'], ['github:__proto__', 'f2']));
      const expected = pins(['github:issue', 'f1'], ['github:__proto__', 'f2']);
      expect(await store.read('a')).toEqual(expected);
      expect(await harness.open().read('a')).toEqual(expected);
    });

    test('a later pin replaces that of the same tool, and leaves the others', async () => {
      await store.pin('a', pins(['s:one', 'f1'], ['s:two', 'f2']));
      await store.pin('a', pins(['s:one', 'f3']));
      expect(await harness.open().read('a')).toEqual(pins(['s:one', 'f3'], ['s:two', 'f2']));
    });

    test('agents have nothing in common', async () => {
      await store.pin('a', pins(['s:one', 'f1']));
      await store.pin('b', pins(['s:one', 'f2']));
      expect(await store.read('a')).toEqual(pins(['s:one', 'f1']));
      expect(await store.read('b')).toEqual(pins(['s:one', 'f2']));
    });

    test('pins at the same time are all remembered', async () => {
      const names = Array.from({ length: 20 }, (_, index) => `s:t${index}`);
      await Promise.all(names.map((tool) => store.pin('a', pins([tool, 'f']))));
      expect([...(await harness.open().read('a')).keys()].sort()).toEqual(names.sort());
    });

    test('no more are remembered than there is room for, and none of those that are too many', async () => {
      const many = Array.from({ length: MAX_PINS }, (_, index): [string, string] => [
        `s:t${index}`,
        'f',
      ]);
      await store.pin('a', pins(...many));
      await expect(store.pin('a', pins(['s:t0', 'f2'], ['s:more', 'f']))).rejects.toEqual(
        expect.objectContaining({ code: 'queue_full', constructor: DuragentError }),
      );
      await store.pin('a', pins(['s:t1', 'f2']));
      const read = await harness.open().read('a');
      expect(read.size).toBe(MAX_PINS);
      expect([read.get('s:t0'), read.get('s:t1'), read.get('s:more')]).toEqual([
        'f',
        'f2',
        undefined,
      ]);
    });
  });
}
