import type { EventOf } from '@duragent/protocol';
import type { PendingMessage, SessionState, SummaryState } from './state.ts';

/** The summary that an answer asks for is owed; one that is owed already is let to its end first. */
export function wantSummary(
  summary: SummaryState,
  { given }: EventOf<'assistant_message'>,
  pending: readonly PendingMessage[],
): SummaryState {
  const upTo = given?.summarize_seq ?? 0;
  if (summary.wanted || upTo <= Math.max(summary.upTo, summary.failed)) return summary;
  // What waits for its own turn is not summarized, wherever it stands in the log.
  const keepFrom = Math.min(upTo + 1, pending[0]?.seq ?? Infinity);
  return { ...summary, wanted: { upTo, keepFrom } };
}

/** The state after the summary that was owed was made, or failed; as it was where another is owed. */
export function endSummary(
  state: SessionState,
  event: EventOf<'history_summarized' | 'summary_failed'>,
): SessionState {
  const { wanted } = state.summary;
  const upTo = event.up_to_seq;
  if (wanted?.upTo !== upTo) return state;
  const summary =
    event.type === 'history_summarized'
      ? { upTo, seq: event.seq, keepFrom: wanted.keepFrom, wanted: null, failed: 0 }
      : { ...state.summary, wanted: null, failed: upTo };
  return { ...state, summary };
}
