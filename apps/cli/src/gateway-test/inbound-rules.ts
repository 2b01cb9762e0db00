import type { GatewayEvent } from '@duragent/protocol';
import { ODD_TEXT } from './line-rules.ts';
import { arrivalOf, inboundId } from './bench.ts';
import { Broken, Skipped, type Rule } from './rule.ts';

/** Messages of one moment may come in any order. */
const ORDER_MS = 500;

/** How a gateway passes on what people say. */
export const inboundRules: readonly Rule[] = [
  {
    id: 'inbound',
    rule: 'Passes on what somebody says, named by an event_id.',
    section: 'From a gateway: `message_received`',
    provoked: true,
    async check(bench) {
      const event = await bench.provoke(await bench.gateway(), 'A test: hello.');
      if (event.event_id === undefined && bench.ready?.protocol !== 'v1alpha1') {
        throw new Broken('the message has no event_id');
      }
      if (event.routing.chat_id !== event.chat_id) {
        throw new Broken('chat_id and routing.chat_id are not the same');
      }
      if (event.routing.sender_id !== event.sender.id) {
        throw new Broken('sender.id and routing.sender_id are not the same');
      }
    },
  },
  {
    id: 'inbound-text',
    rule: 'Passes on a text with any character as it is.',
    section: 'Transport',
    needs: 'inbound',
    provoked: true,
    async check(bench) {
      const mark = 'A test:';
      const said = `${mark} ${ODD_TEXT}`;
      const { content } = await bench.provoke(await bench.gateway(), said);
      const text = content.text ?? '';
      if (text.trim() === said) return;
      if (!text.startsWith(mark)) {
        throw new Skipped('the --provoke command does not say $DURAGENT_TEST_TEXT');
      }
      throw new Broken(`${JSON.stringify(said)} came as ${JSON.stringify(text.slice(0, 200))}`);
    },
  },
  {
    id: 'ack-awaited',
    rule: 'Confirms nothing to its platform before ack: what was not acked comes again after a crash.',
    section: 'Arrivals: exactly once',
    needs: 'inbound',
    capability: 'ack',
    v1: true,
    provoked: true,
    async check(bench) {
      const run = await bench.gateway();
      bench.holdsAcks = true;
      try {
        const first = await bench.provoke(run, 'A test: this is acked late.');
        await run.kill();
        const next = await bench.start();
        const again = await next.until(
          () =>
            next.events
              .filter((event) => event.type === 'message_received')
              .find((event) => inboundId(event) === inboundId(first) || isSame(event, first)),
          bench.options.answerMs,
        );
        if (again === null) {
          throw new Broken(
            `the gateway was killed before it had the ack, and the message did not come again within ${bench.options.answerMs} ms`,
          );
        }
        bench.hasRedelivered = true;
        bench.ack(next, again);
      } finally {
        bench.holdsAcks = false;
      }
    },
  },
  {
    id: 'event-id-stable',
    rule: 'Names an event the same on every redelivery.',
    section: 'Arrivals: exactly once',
    needs: 'inbound',
    capability: 'ack',
    v1: true,
    provoked: true,
    check({ hasRedelivered, runs }) {
      const arrivals = runs.flatMap((run) => run.events).filter(isMessage);
      for (const [index, again] of arrivals.entries()) {
        const first = arrivals.slice(0, index).find((event) => isSame(event, again));
        // An edit may follow another.
        if (first === undefined || again.edited || inboundId(first) === inboundId(again)) continue;
        throw new Broken(`it came as ${inboundId(first)}, and again as ${inboundId(again)}`);
      }
      if (!hasRedelivered) throw new Skipped('nothing was redelivered');
    },
  },
  {
    id: 'event-id-unique',
    rule: 'Names no two messages the same.',
    section: 'Arrivals: exactly once',
    needs: 'inbound',
    v1: true,
    provoked: true,
    check({ runs }) {
      const named = new Map<string, Message>();
      for (const event of runs.flatMap((run) => run.events).filter(isMessage)) {
        const first = named.get(inboundId(event)) ?? event;
        named.set(inboundId(event), first);
        // Each text is said once: one that comes again was sent again, under whatever message id.
        if (isSame(event, first) || event.content.text === first.content.text) continue;
        throw new Broken(
          `the messages ${first.message_id} and ${event.message_id} are both ${inboundId(event)}: the server drops the second`,
        );
      }
    },
  },
  {
    id: 'ack-confirms',
    rule: 'Confirms what was acked: it does not come again after a restart.',
    section: 'Arrivals: exactly once',
    needs: 'inbound',
    capability: 'ack',
    v1: true,
    provoked: true,
    async check(bench) {
      const first = await bench.provoke(await bench.gateway(), 'A test: this is acked.');
      const run = await bench.start();
      // By the time a later message came, the earlier ones were on their way, too.
      await bench.provoke(run, 'A test: this comes later.');
      const isAgain = await run.until(
        () =>
          run.events.some(
            (event) => event.type === 'message_received' && arrivalOf(event) === arrivalOf(first),
          ),
        ORDER_MS,
      );
      if (isAgain !== null) throw new Broken('a message that was acked came again');
    },
  },
];

type Message = Parameters<typeof inboundId>[0];

function isMessage(event: GatewayEvent): event is Message {
  return event.type === 'message_received';
}

/** Whether two events are one message, whatever they are named. */
function isSame(a: Message, b: Message): boolean {
  return a.chat_id === b.chat_id && a.message_id === b.message_id && a.edited === b.edited;
}
