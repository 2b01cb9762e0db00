import { GrammyError, HttpError } from 'grammy';
import { describe, expect, test } from 'vitest';
import { readFailure } from './failure.ts';

describe('a failure', () => {
  function refused(error_code: number, description: string, parameters = {}) {
    const body = { ok: false as const, error_code, description, parameters };
    return readFailure(new GrammyError('x', body, 'sendMessage', {}), 'sendMessage');
  }

  test.each([
    [400, 'Bad Request: chat not found', 'chat_not_found'],
    [400, 'Bad Request: message thread not found', 'chat_not_found'],
    [400, 'Bad Request: TOPIC_CLOSED', 'chat_not_found'],
    [400, 'Bad Request: message to edit not found', 'message_not_found'],
    [400, "Bad Request: message can't be edited", 'message_not_found'],
    [400, 'Bad Request: message is too long', 'too_long'],
    [400, 'Bad Request: MESSAGE_TOO_LONG', 'too_long'],
    [400, 'Bad Request: not enough rights to send text messages to the chat', 'blocked'],
    [400, 'Bad Request: CHAT_WRITE_FORBIDDEN', 'blocked'],
    [400, "Bad Request: can't parse entities: unclosed", 'invalid_request'],
    [400, 'Bad Request: query is too old and response timeout expired', 'invalid_request'],
    [401, 'Unauthorized', 'unauthorized'],
    [403, 'Forbidden: bot was blocked by the user', 'blocked'],
    [409, 'Conflict: terminated by other getUpdates request', 'conflict'],
    [413, 'Request Entity Too Large', 'invalid_request'],
  ])('%i %s is %s, and certain', (status, description, code) => {
    const failure = refused(status, description);
    expect(failure).toMatchObject({ code, isUncertain: false });
    expect(failure.message).toContain(description);
  });

  test('429 says when to come again', () => {
    expect(refused(429, 'Too Many Requests', { retry_after: 7 })).toMatchObject({
      code: 'rate_limited',
      retryAfterMs: 7000,
      isUncertain: false,
    });
  });

  test('of the server is uncertain', () => {
    expect(refused(502, 'Bad Gateway')).toMatchObject({
      code: 'platform_error',
      isUncertain: true,
    });
  });

  test.each([
    ["can't parse entities: x", true],
    ['RICH_MESSAGE_EMAIL_INVALID', true],
    ['message is too long', true],
    ['message is not modified: x', false],
    ['chat not found', false],
    ['query is too old', false],
  ])('%s may be for the form: %s', (description, mayBeForm) => {
    expect(refused(400, `Bad Request: ${description}`).mayBeForm).toBe(mayBeForm);
  });

  test('of a connection that never was is certain, and any other is not', () => {
    const system = (code: string) => Object.assign(new Error(code), { code });
    const failed = (cause: unknown) =>
      readFailure(new HttpError('x', new TypeError('fetch failed', { cause })), 'sendMessage');
    expect(failed(system('ECONNREFUSED'))).toMatchObject({
      code: 'not_connected',
      isUncertain: false,
    });
    expect(failed(new AggregateError([system('ENETUNREACH')]))).toMatchObject({
      isUncertain: false,
    });
    expect(failed(system('ECONNRESET'))).toMatchObject({
      code: 'platform_error',
      isUncertain: true,
    });
    expect(failed(new Error('timed out after 40 seconds'))).toMatchObject({ isUncertain: true });
    expect(readFailure('odd', 'sendMessage')).toMatchObject({ isUncertain: true });
  });
});
