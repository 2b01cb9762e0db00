import { emitKeypressEvents, type Key } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { Conversation, type ConversationEnd, type ConversationOptions } from './conversation.ts';
import { LineEditor } from './line-editor.ts';
import { Screen } from './screen.ts';
import { line, span, type TextLine } from './text-line.ts';
import { TtyStage } from './tty-stage.ts';

const BRACKETED_PASTE = { on: '\x1b[?2004h', off: '\x1b[?2004l' } as const;

/** A conversation with a person at a terminal: what is typed stays in place while output scrolls by. */
export async function converseOnTerminal(
  terminal: { stdin: ReadStream; stdout: WriteStream; color: boolean },
  options: Omit<ConversationOptions, 'stage' | 'echo'>,
  /** What is shown first. */
  opening: (stage: TtyStage) => void,
): Promise<ConversationEnd> {
  const { stdin, stdout, color } = terminal;
  const editor = new LineEditor();
  const screen = new Screen(stdout, { color, drawInput: (size) => editor.draw(size) });
  const stage = new TtyStage(screen);
  const conversation = new Conversation({
    ...options,
    stage,
    echo: true,
    onChange: () => screen.setStatus(statusOf(conversation)),
    onClear: () => {
      stage.cleared();
      screen.clear();
    },
  });
  const hold = (): void => {
    stdout.write(BRACKETED_PASTE.off);
    stdin.setRawMode(false);
  };
  const take = (): void => {
    stdin.setRawMode(true);
    stdout.write(BRACKETED_PASTE.on);
  };
  const onKey = (text: string | undefined, key: Key): void => {
    const action = editor.press(text, key);
    screen.touch();
    switch (action?.type) {
      case 'submit':
        void conversation.submit(action.text);
        return;
      case 'interrupt':
        editor.reset();
        conversation.interrupt();
        return;
      case 'leave':
        conversation.leave('detached');
        return;
      case 'clear':
        conversation.options.onClear?.();
        return;
      case 'suspend':
        screen.park();
        hold();
        process.once('SIGCONT', () => {
          take();
          screen.touch();
        });
        // The whole job, as the terminal would: npx and its shell stand above this process.
        process.kill(0, 'SIGTSTP');
        return;
      case undefined:
        return;
    }
  };
  const onGone = (): void => conversation.leave('detached');
  const restore = (): void => hold();
  emitKeypressEvents(stdin);
  stdin.on('keypress', onKey);
  stdin.on('end', onGone);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.on(signal, onGone);
  process.on('exit', restore);
  take();
  stdin.resume();
  try {
    opening(stage);
    return await conversation.run();
  } finally {
    screen.close();
    process.off('exit', restore);
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.off(signal, onGone);
    stdin.off('keypress', onKey);
    stdin.off('end', onGone);
    stdin.pause();
    hold();
  }
}

function statusOf(conversation: Conversation): TextLine | null {
  if (!conversation.connected) return line(span('· no connection, trying again', 'yellow'));
  if (conversation.asked) return line(span('· waiting for you', 'yellow'));
  if (conversation.held) return line(span('· paused (/resume lets it go on)', 'yellow'));
  const doing = conversation.progress ?? 'working';
  return conversation.busy ? line(span(`· ${doing} (Ctrl-C cancels)`, 'dim')) : null;
}
