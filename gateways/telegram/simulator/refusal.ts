/** What Telegram adds to some refusals. */
export interface RefusalParameters {
  retry_after?: number;
  migrate_to_chat_id?: number;
}

/** A call that is refused, in Telegram's words; it becomes the answer, never a crash. */
export class Refusal extends Error {
  readonly code: number;
  readonly parameters: RefusalParameters | undefined;

  constructor(code: number, description: string, parameters?: RefusalParameters) {
    super(description);
    this.code = code;
    this.parameters = parameters;
  }
}

/** 400, with the prefix that Telegram gives it. */
export function badRequest(reason: string): Refusal {
  return new Refusal(400, `Bad Request: ${reason}`);
}

/** Markup that is not well formed: the text is not posted. */
export function cannotParse(reason: string): Refusal {
  return badRequest(`can't parse entities: ${reason}`);
}

/** 403, with the prefix that Telegram gives it. */
export function forbidden(reason: string): Refusal {
  return new Refusal(403, `Forbidden: ${reason}`);
}
