import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { DuragentError } from '@duragent/protocol';
import { Conversation, type ConversationEnd, type ConversationOptions } from './conversation.ts';
import { PlainStage } from './plain-stage.ts';

/** The longest line that is a message, in UTF-16 units. */
const MAX_MESSAGE = 512 * 1024;

/**
 * A conversation without a terminal: each line of the input is a message, sent when the one before
 * it has been answered; at its end, the running turn is waited for.
 */
export async function conversePiped(
  streams: { stdin: Readable; stdout: Writable; stderr: Writable },
  options: Omit<ConversationOptions, 'stage' | 'echo'>,
): Promise<ConversationEnd & { failures: number }> {
  const stage = new PlainStage(streams.stdout, streams.stderr, { quiet: options.quiet });
  const conversation = new Conversation({ ...options, stage, echo: false });
  const onInterrupt = (): void => conversation.interrupt();
  const onGone = (): void => conversation.leave('detached');
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onGone);
  const running = conversation.run();
  try {
    const [end] = await Promise.all([running, feed(conversation, streams.stdin)]);
    return { ...end, failures: conversation.failures };
  } finally {
    conversation.leave('detached');
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onGone);
  }
}

async function feed(conversation: Conversation, stdin: Readable): Promise<void> {
  const { signal } = conversation;
  const stop = (): void => void stdin.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await conversation.caughtUp();
    for await (const text of readLines(stdin, signal)) {
      await conversation.submit(text);
      await conversation.idle();
      if (signal.aborted) return;
    }
    await conversation.idle();
    if (!signal.aborted) conversation.leave('detached');
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Lines that are not blank, until the input ends or the signal aborts. */
async function* readLines(stdin: Readable, signal: AbortSignal): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const lines = (): string[] => {
    const all = rest.split('\n');
    rest = all.pop() ?? '';
    if (rest.length > MAX_MESSAGE) {
      throw new DuragentError(
        'usage',
        'A line of the input is longer than 512 KiB. Give the text in shorter lines.',
      );
    }
    return all;
  };
  try {
    for await (const chunk of stdin) {
      rest += decoder.write(chunk as Buffer);
      for (const text of lines()) if (text.trim() !== '') yield text.replace(/\r$/, '');
    }
  } catch (error) {
    // The input was closed because this client leaves.
    if (!signal.aborted) throw error;
  }
  rest += decoder.end();
  if (!signal.aborted && rest.trim() !== '') yield rest.replace(/\r$/, '');
}
