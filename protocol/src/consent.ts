import { z } from 'zod';
import { eventFields } from './event-fields.ts';
import { deliverySchema } from './event-parts.ts';
import type { InferKnown } from './infer-known.ts';

/** What people allow and answer (PROTOCOL.md, "Approvals and questions"). */

/** What a command is, as far as a process is started for it. */
export const commandSchema = z.looseObject({
  argv: z.array(z.string()),
  cwd: z.string(),
  /** Changes to the environment. */
  env: z.record(z.string(), z.string()),
});
export type Command = InferKnown<typeof commandSchema>;

export const approvalDecisionSchema = z.enum(['allow_once', 'allow_always', 'deny']);
/** What a person says to an approval. `allow_always` also stores a rule for just this command. */
export type ApprovalDecision = InferKnown<typeof approvalDecisionSchema>;

export const approvalRequestedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('approval_requested'),
  turn: z.string(),
  call: z.string(),
  /** The server's id, `appr_…`. */
  approval: z.string(),
  /** The tool's name. */
  tool: z.string(),
  /** The whole of what the call would do, in words. */
  shown: z.string(),
  command: commandSchema.optional(),
  /** SHA-256 over all that the approval is for, in hex: it allows nothing else. */
  hash: z.string(),
  /** Why it is asked. */
  reason: z.string(),
  /** `<gateway>:<id>` of the person whose message the turn answers. */
  requester: z.string().optional(),
  /** The rule that `allow_always` stores; null: it is not offered. */
  always: z.string().nullable(),
  /** ISO instant after which it is denied; null: it waits for ever. */
  expires_at: z.string().nullable(),
  deliveries: z.array(deliverySchema),
});

export const approvalDecidedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('approval_decided'),
  turn: z.string(),
  call: z.string(),
  approval: z.string(),
  /** `expire`: nobody decided in time, or it was allowed so long ago that it is asked again. */
  decision: z.enum([...approvalDecisionSchema.options, 'expire']),
  /** `<gateway>:<id>` of a person, `http`, or `server`. */
  by: z.string(),
  /** What the cards that asked say from now on. */
  deliveries: z.array(deliverySchema).optional(),
});

/** Choices that a question may have, and the characters of one. */
export const MAX_CHOICES = 8;
export const MAX_CHOICE_LENGTH = 100;

export const questionAskedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('question_asked'),
  turn: z.string(),
  call: z.string(),
  /** The server's id, `q_…`. */
  question: z.string(),
  text: z.string(),
  /** Absent: any text is an answer. */
  choices: z.array(z.string().max(MAX_CHOICE_LENGTH)).max(MAX_CHOICES).optional(),
  /** The answer that holds when nobody answers in time. */
  default: z.string().optional(),
  /** Its call had begun, and the server stopped while it ran: people are asked what came of it. */
  interrupted: z
    .looseObject({
      /** The end of what it had printed. */
      output: z.string(),
    })
    .optional(),
  /** ISO instant after which it is no longer open; null: it waits for ever. */
  expires_at: z.string().nullable(),
  deliveries: z.array(deliverySchema),
});

export const questionAnsweredSchema = z.looseObject({
  ...eventFields,
  type: z.literal('question_answered'),
  turn: z.string(),
  call: z.string(),
  question: z.string(),
  /** null: nobody answered in time, and it has no default. */
  answer: z.string().nullable(),
  /** `<gateway>:<id>` of a person, the kind of another client, or `server`. */
  by: z.string(),
  /** The message that was the answer. */
  message_id: z.string().optional(),
  /** What the cards that asked say from now on. */
  deliveries: z.array(deliverySchema).optional(),
});

/** An approval that waits, as the API lists it. */
export const approvalViewSchema = z.looseObject({
  approval: z.string(),
  session: z.string(),
  agent: z.string(),
  turn: z.string(),
  call: z.string(),
  tool: z.string(),
  /** The whole of what the call would do, in words. Not made safe for a terminal. */
  shown: z.string(),
  command: commandSchema.optional(),
  reason: z.string(),
  requester: z.string().optional(),
  /** The rule that `allow_always` stores; null: it is not offered. */
  always: z.string().nullable(),
  requested_at: z.string(),
  expires_at: z.string().nullable(),
});
export type ApprovalView = InferKnown<typeof approvalViewSchema>;
export const approvalListSchema = z.looseObject({ approvals: z.array(approvalViewSchema) });

/** A question that waits, as the API lists it. */
export const questionViewSchema = z.looseObject({
  question: z.string(),
  session: z.string(),
  agent: z.string(),
  turn: z.string(),
  call: z.string(),
  text: z.string(),
  choices: z.array(z.string()).optional(),
  default: z.string().optional(),
  asked_at: z.string(),
  expires_at: z.string().nullable(),
});
export type QuestionView = InferKnown<typeof questionViewSchema>;
export const questionListSchema = z.looseObject({ questions: z.array(questionViewSchema) });

/** `POST …/approvals/{approval}` */
export const decideApprovalSchema = z.strictObject({ decision: approvalDecisionSchema });
/** `POST …/questions/{question}` */
export const answerQuestionSchema = z.strictObject({
  /** A text; where there are choices one of them, or its number from 1. */
  answer: z.string().min(1).max(32_000),
});
