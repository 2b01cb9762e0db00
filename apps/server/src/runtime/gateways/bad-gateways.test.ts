import { isKnownEvent } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { ticks } from '../testing.ts';
import { GatewayLink } from './gateway-link.ts';
import { Previews } from './previews.ts';
import { TestHub } from './testing.ts';

const preview = ['ack', 'edit', 'preview'] as const;

describe('a gateway', () => {
  test('that sends while the server stops does not keep it from stopping', async () => {
    const hub = await new TestHub().start();
    hub.hub.stopIntake();
    let isTaken = false;
    void hub.gateway.host.inbound(hub.message('hello')).then(() => (isTaken = true));
    let isClosed = false;
    void hub.hub.close().then(() => (isClosed = true));
    await ticks();
    expect(isClosed).toBe(true);
    // Neither taken nor refused: it comes again.
    expect(isTaken).toBe(false);
    expect(hub.inboxes.get('fake')?.lastN).toBe(0);
  });

  test('cannot say what the preview of a reply in a chat of another is', async () => {
    const hub = await new TestHub({ gateways: ['fake', 'other'] }).start([...preview]);
    await hub.tell('hello');
    const call = hub.runtime.model.calls.at(-1);
    call?.text('This is the beginning of it. ');
    await hub.runtime.clock.advance(300);
    const preview_id = hub.gateway.previews[0]?.preview_id ?? '';
    hub.of('other').host.event({ type: 'preview_posted', preview_id, message_id: 'm1' });
    hub.gateway.host.event({ type: 'preview_posted', preview_id, message_id: 'm2' });
    await ticks();
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const records = await (await hub.runtime.sessions.open(session)).read(0, 100);
    const posted = records.flatMap(({ event }) =>
      isKnownEvent(event) && event.type === 'preview_posted' ? [event.platform_message_id] : [],
    );
    expect(posted).toEqual(['m2']);
  });

  test('that is given up on many replies leaves no previews of them behind', async () => {
    const hub = await new TestHub().start([...preview]);
    const { clock } = hub.runtime;
    const link = new GatewayLink({ name: 'fake', clock, limits: null, onPresence: () => {} });
    link.use(hub.gateway);
    const previews = new Previews(clock, () => link);
    const chat = { gateway: 'fake', account: 'fake', chat_id: 'c' };
    const show = (out: string, session = 's'): void =>
      previews.show(session, chat, out, { text: () => 'text', isPosted: false });
    show('of another session', 's2');
    for (let n = 0; n < 100; n += 1) show(`out${n}`);
    const known = Array.from({ length: 100 }, (_, n) => previews.sessionOf('fake', `out${n}`));
    // Twenty that may be owed, and the one that is written.
    expect(known.lastIndexOf(null)).toBe(78);
    expect(known.filter((one) => one !== null)).toHaveLength(21);
    expect(previews.sessionOf('fake', 'of another session')).toBe('s2');
    expect(previews.sessionOf('other', 'out99')).toBeNull();
  });
});
