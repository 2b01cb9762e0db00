import { describe, expect, test } from 'vitest';
import { readConfig } from './config.ts';

const token = '1234567890:AAcanary-telegram-0b6f3d52c8e14a97';

describe('the config', () => {
  test('has defaults for all but the token', () => {
    expect(readConfig({ bot_token: token })).toEqual({
      botToken: token,
      apiRoot: 'https://api.telegram.org',
      pollTimeoutSeconds: 30,
      streaming: 'edit',
    });
    expect(readConfig({ bot_token: token, api_root: 'http://127.0.0.1:1/' })).toMatchObject({
      apiRoot: 'http://127.0.0.1:1',
    });
  });

  test.each([
    [{ bot_token: token, api_rot: 'x' }, 'did you mean "api_root"?'],
    [{ bot_token: token, pool_timeout_second: 1 }, 'did you mean "poll_timeout_seconds"?'],
    [{ bot_token: token, something_else: 1 }, 'known are bot_token, api_root'],
    [{}, 'bot_token is missing'],
    [{ bot_token: '' }, 'bot_token is missing'],
    [{ bot_token: 'AAcanary-telegram-0b6f3d52c8e14a97' }, 'bot_token is no token'],
    [{ bot_token: `${token}/../x` }, 'bot_token is no token'],
    [{ bot_token: token, api_root: 'telegram' }, 'api_root is no address'],
    [{ bot_token: token, api_root: 'file:///etc' }, 'api_root is no address'],
    [{ bot_token: token, poll_timeout_seconds: 0 }, 'from 1 to 50'],
    [{ bot_token: token, poll_timeout_seconds: '30' }, 'from 1 to 50'],
    [{ bot_token: token, streaming: 'fast' }, '"edit" or "draft"'],
  ])('that cannot be used is refused without showing it: %#', (config, message) => {
    expect(() => readConfig(config)).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        message: expect.stringContaining(message),
      }),
    );
    expect(() => readConfig(config)).not.toThrow(/canary/);
  });
});
