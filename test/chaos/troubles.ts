import type { FaultRule } from '../../gateways/telegram/simulator/faults.ts';
import type { TelegramControl } from '../../gateways/telegram/simulator/control.ts';

const posting = ['sendMessage', 'sendRichMessage', 'sendDocument', 'editMessageText'];

/** What goes wrong with Telegram itself, all the time and seldom enough for answers to get through. */
const troubles: readonly FaultRule[] = [
  { fault: { type: 'redeliver', back: 5 }, methods: ['getUpdates'], probability: 0.08 },
  { fault: { type: 'reorder' }, methods: ['getUpdates'], probability: 0.15 },
  { fault: { type: 'cut', when: 'after' }, methods: ['getUpdates'], probability: 0.01 },
  { fault: { type: 'cut', when: 'before' }, methods: posting, probability: 0.015 },
  { fault: { type: 'cut', when: 'after' }, methods: posting, probability: 0.015 },
  { fault: { type: 'cut', when: 'body' }, methods: posting, probability: 0.01 },
  { fault: { type: 'status', code: 500 }, methods: posting, probability: 0.01 },
  {
    fault: { type: 'status', code: 502, html: true, processed: true },
    methods: posting,
    probability: 0.01,
  },
  { fault: { type: 'retry_after', seconds: 1 }, methods: posting, probability: 0.03 },
  { fault: { type: 'slow', ms: 150 }, methods: [...posting, 'getFile'], probability: 0.1 },
];

/** Begins them anew. */
export function addTroubles(control: TelegramControl): void {
  control.removeFault();
  for (const trouble of troubles) control.addFault(trouble);
}
