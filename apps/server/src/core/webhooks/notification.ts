/** Stands where a chat's address names its gateway: `webhook:<name>`. No gateway may be named so. */
export const WEBHOOK_GATEWAY = 'webhook';

/** What a webhook is told. */
export interface Notification {
  /** The delivery: one id for one notification, however often it is sent. */
  id: string;
  session: string;
  agent: string;
  text: string;
  /** When it was recorded, in ms since 1970. */
  recordedAt: number;
}

/** The body of a notification, a CloudEvent in JSON: the same characters each time. */
export function notificationBody(notification: Notification): string {
  const { id, session, agent, text, recordedAt } = notification;
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: `/sessions/${session}`,
    type: 'duragent.notification',
    time: new Date(recordedAt).toISOString(),
    datacontenttype: 'application/json',
    data: { session, agent, text },
  });
}
