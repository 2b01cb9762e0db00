import { z } from 'zod';

/** Fields that every record begins with. `crc` is written by the store and is not part of an event. */
export const eventFields = {
  /** Position in the session's log: 1, 2, 3 … without a gap. */
  seq: z.int().min(1),
  /** The start of the server that wrote the record: rises by one at each start. Never falls in a log. */
  epoch: z.int().min(0),
  /** When it was recorded: UTC with milliseconds, ISO 8601. */
  at: z.string(),
};
