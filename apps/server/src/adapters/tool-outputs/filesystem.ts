import { open } from 'node:fs/promises';
import path from 'node:path';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';

/** Keeps them as `<sessions>/<session>/output/<call>.log`: they go with their session. */
export function fileToolOutputs({ dir }: { dir: string }): ToolOutputs {
  const fileOf = (session: string, call: string): string =>
    path.join(dir, session, 'output', `${call}.log`);
  return {
    // Whoever writes it makes its folder.
    file: (session, call) => Promise.resolve(fileOf(session, call)),
    async tail(session, call, bytes) {
      try {
        await using handle = await open(fileOf(session, call));
        const { size } = await handle.stat();
        const start = Math.max(0, size - bytes);
        const { buffer, bytesRead } = await handle.read({
          buffer: Buffer.alloc(size - start),
          position: start,
        });
        // It may begin within a character.
        return buffer.subarray(0, bytesRead).toString('utf8').replace(/^�+/, '');
      } catch {
        return '';
      }
    },
  };
}
