import { type EventOf, isKnownEvent, type StoredEvent } from '@duragent/protocol';

/** An approval or a question that waits. */
export type OpenAsk =
  | { kind: 'approval'; id: string; always: boolean }
  | { kind: 'question'; id: string; choices: readonly string[] };

/** Follows from a session's events what waits for people. Pure. */
export class OpenAsks {
  readonly #open = new Map<string, OpenAsk>();

  /** What waits longest; null: nothing. */
  get first(): OpenAsk | null {
    return this.#open.values().next().value ?? null;
  }

  /** The open one of this id, or of this kind where there is no id. */
  find(kind: OpenAsk['kind'], id: string): OpenAsk | null {
    for (const ask of this.#open.values()) {
      if (ask.kind === kind && (id === '' || ask.id === id)) return ask;
    }
    return null;
  }

  apply(event: StoredEvent): void {
    if (!isKnownEvent(event)) return;
    if (event.type === 'approval_requested') {
      const { approval: id, always } = event;
      this.#open.set(event.call, { kind: 'approval', id, always: always !== null });
    } else if (event.type === 'question_asked') {
      const { question: id, choices = [] } = event;
      this.#open.set(event.call, { kind: 'question', id, choices });
    } else if (event.type === 'turn_finished' || event.type === 'session_ended') {
      this.#open.clear();
    } else if ('call' in event && event.type !== 'notice') {
      // Somebody has spoken, or the call ended without them.
      this.#open.delete(event.call);
    }
  }
}

/** A choice by its number, as it was typed. */
export function choiceAt(ask: OpenAsk, line: string): string | undefined {
  if (ask.kind !== 'question' || !/^[1-9]$/.test(line)) return undefined;
  return ask.choices[Number(line) - 1];
}

/** A text that others chose, each line marked: no line of it can pass for one of ours. */
export function quoted(text: string): string {
  return text.replaceAll(/^/gm, '│ ');
}

/** How what is asked can be answered at a terminal. */
export function howTo(event: EventOf<'approval_requested' | 'question_asked'>): string {
  if (event.type === 'approval_requested') {
    const always = event.always === null ? '' : ', a allows it always';
    return `y and Enter allows it once${always}, n denies it.`;
  }
  const { choices = [] } = event;
  if (choices.length === 0) return 'Write the answer.';
  const lines = choices.map((choice, i) => `${String(i + 1)}. ${choice}`);
  return `${lines.join('\n')}\nThe number and Enter picks one.`;
}
