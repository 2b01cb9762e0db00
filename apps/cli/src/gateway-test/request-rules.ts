import type { GatewayCapability, GatewayEventOf } from '@duragent/protocol';
import { ODD_TEXT } from './line-rules.ts';
import { Broken, Skipped, type Rule } from './rule.ts';

const NO_SUCH_MESSAGE = 'no-such-message-0';

/** How a gateway does what it is asked. */
export const requestRules: readonly Rule[] = [
  {
    id: 'send-message',
    rule: 'Answers send_message with command_ok and a message_id.',
    section: 'To a gateway: `send_message`',
    async check(bench) {
      await bench.post(await bench.gateway(), 'A test: the first message.');
    },
  },
  {
    id: 'requests-at-once',
    rule: 'Answers each of several requests that come at once, with ids of their own.',
    section: 'Transport',
    needs: 'send-message',
    async check(bench) {
      const run = await bench.gateway();
      const requests = [1, 2, 3, 4, 5].map((n) => ({
        request_id: bench.newId(),
        ...bench.message(`A test: message ${n} of 5 at once.`),
      }));
      run.send(...requests);
      const ids = new Set<string>();
      for (const { request_id } of requests) {
        const answer = await bench.answer(run, request_id);
        if (answer.type === 'command_ok' && answer.message_id !== undefined) {
          if (ids.has(answer.message_id)) throw new Broken('two messages have one message_id');
          ids.add(answer.message_id);
        } else if (answer.type !== 'command_error' || answer.code !== 'rate_limited') {
          if (answer.type === 'command_error') throw bench.refusal('one of them', answer);
          throw new Broken(`one was answered with ${answer.type}`);
        }
      }
    },
  },
  {
    id: 'unicode-content',
    rule: 'Posts a text with any character as it is.',
    section: 'Transport',
    needs: 'send-message',
    async check(bench) {
      const run = await bench.gateway();
      const after = new Date(Date.now() - 60_000).toISOString();
      const isFound = async (content: string): Promise<boolean> => {
        const id = await bench.post(run, content);
        const look = { type: 'find_message', chat_id: bench.chat, content, author: 'self', after };
        const found = await bench.ask(run, look);
        return found.type === 'message_found' && found.message_id === id;
      };
      const odd = `A test: ${ODD_TEXT}`;
      if (!bench.has('find')) await bench.post(run, odd);
      // One that finds no text at all breaks another rule.
      else if (!(await isFound(odd)) && (await isFound('A test: plain text.'))) {
        throw new Broken('it does not find the text again that it posted');
      }
    },
  },
  {
    id: 'longest-content',
    rule: 'Posts a text as long as its limits say.',
    section: 'Out: delivered or visibly dead',
    needs: 'send-message',
    async check(bench) {
      const { max_length: most } = bench.limits;
      await bench.post(await bench.gateway(), bench.textOf(most));
    },
  },
  {
    id: 'too-long-content',
    rule: 'Answers too_long, or posts, what is longer than its limits say.',
    section: 'Out: delivered or visibly dead',
    needs: 'send-message',
    async check(bench) {
      const { max_length: most } = bench.limits;
      const text = bench.textOf(most + 1);
      if (text.length <= most) throw new Skipped('its limit is near the longest line');
      const answer = await bench.ask(await bench.gateway(), bench.message(text));
      if (answer.type === 'command_ok') return;
      if (answer.type !== 'command_error') throw new Broken(`it answered ${answer.type}`);
      if (answer.code === 'too_long') return;
      throw bench.refusal('a text that is too long', answer);
    },
  },
  {
    id: 'invalid-requests',
    rule: 'Refuses an invalid command with invalid_request, or ignores it.',
    section: 'Refusals of a gateway',
    async check(bench) {
      const run = await bench.gateway();
      const message = bench.message('This must not be posted.');
      const edit = { type: 'edit_message', chat_id: bench.chat, content: 'x' };
      const remove = { type: 'delete_message', chat_id: bench.chat, message_id: 7 };
      const wrong: [what: string, fields: object][] = [
        ['a send_message without chat_id', { ...message, chat_id: undefined }],
        ['a send_message with an empty chat_id', { ...message, chat_id: '' }],
        ['a send_message whose chat_id is an object', { ...message, chat_id: { id: bench.chat } }],
        ['a send_message without content', { ...message, content: undefined }],
        ['a send_message whose content is a number', { ...message, content: 7 }],
        ['a send_message whose content is a list', { ...message, content: ['x'] }],
        ['a send_message whose content is null', { ...message, content: null }],
        ['a send_message whose format is "html"', { ...message, format: 'html' }],
        ['an edit_message without message_id', edit],
        ['a delete_message whose message_id is a number', remove],
      ];
      if (bench.has('inline_keyboard')) {
        const inline_keyboard = [[{ text: 'x', data: '' }]];
        wrong.push(['a button whose data is empty', { ...message, inline_keyboard }]);
      }
      for (const [what, fields] of wrong) {
        const request_id = bench.newId();
        run.send({ request_id, ...fields });
        await bench.checkAlive(run, what);
        const answer = run.requests.get(request_id)?.answers[0];
        if (answer === undefined) continue;
        if (answer.type !== 'command_error') {
          throw new Broken(`it answered ${answer.type} to ${what}`);
        }
        if (answer.code !== 'invalid_request') {
          throw new Broken(`it refused ${what} with ${answer.code}, not invalid_request`);
        }
      }
    },
  },
  {
    id: 'edit',
    rule: 'Edits a message of its own; the same text again is success.',
    section: 'To a gateway: `edit_message`',
    needs: 'send-message',
    capability: 'edit',
    async check(bench) {
      const run = await bench.gateway();
      const message_id = await bench.post(run, 'A test: before the edit.');
      const edit = { type: 'edit_message', chat_id: bench.chat, message_id, format: 'text' };
      for (const times of ['an edit', 'the same edit again']) {
        const answer = await bench.ask(run, { ...edit, content: 'A test: after the edit.' });
        if (answer.type === 'command_error') throw bench.refusal(times, answer);
        if (answer.type !== 'command_ok') throw new Broken(`it answered ${answer.type}`);
      }
    },
  },
  refusesUnknown('edit', { type: 'edit_message', content: 'x', format: 'text' }),
  {
    id: 'delete',
    rule: 'Deletes a message of its own.',
    section: 'To a gateway: `delete_message`',
    needs: 'send-message',
    capability: 'delete',
    async check(bench) {
      const run = await bench.gateway();
      const message_id = await bench.post(run, 'A test: this is deleted at once.');
      const answer = await bench.ask(run, {
        type: 'delete_message',
        chat_id: bench.chat,
        message_id,
      });
      if (answer.type === 'command_error') throw bench.refusal('a delete', answer);
      if (answer.type !== 'command_ok') throw new Broken(`it answered ${answer.type}`);
    },
  },
  refusesUnknown('delete', { type: 'delete_message' }),
  {
    id: 'preview',
    rule: 'Answers no preview_message but with one preview_posted, and finishes it when a message replaces it.',
    section: 'Out: delivered or visibly dead',
    needs: 'send-message',
    capability: 'preview',
    v1: true,
    async check(bench) {
      const run = await bench.gateway();
      const preview_id = `preview-${bench.newId()}`;
      const show = (content: string): void =>
        run.send({ type: 'preview_message', preview_id, chat_id: bench.chat, content });
      show('A test: this');
      const posts = (): GatewayEventOf<'preview_posted'>[] =>
        run.events.filter((event) => event.type === 'preview_posted');
      const posted = (): string[] =>
        posts()
          .filter((event) => event.preview_id === preview_id)
          .map((event) => event.message_id);
      // Best effort: a preview need not be shown at all.
      await run.until(() => posted().length > 0, Math.min(bench.options.answerMs, 2000));
      show('A test: this is');
      show('A test: this is being');
      const final = 'A test: this is being written.';
      const id = await bench.post(run, final, { replaces: { preview_id } });
      await bench.checkAlive(run, 'a preview');
      const other = posts().find((event) => event.preview_id !== preview_id);
      if (other !== undefined) {
        throw new Broken(
          `its preview_posted names ${JSON.stringify(other.preview_id)}, which is no preview`,
        );
      }
      const [first, ...more] = posted();
      if (more.length > 0)
        throw new Broken('it said preview_posted more than once for one preview');
      if (first !== undefined && first !== id) {
        throw new Broken(`the preview is message ${first} and what replaces it is ${id}`);
      }
    },
  },
  {
    id: 'preview-unknown',
    rule: 'Posts anew what replaces a preview that it does not know.',
    section: 'To a gateway: `send_message`',
    needs: 'send-message',
    v1: true,
    async check(bench) {
      const replaces = { preview_id: `preview-unknown-${bench.newId()}` };
      await bench.post(await bench.gateway(), 'A test: no preview came before.', { replaces });
    },
  },
  {
    id: 'nonce',
    rule: 'Posts once what has one nonce: the second time it gives the first message_id.',
    section: 'Capabilities of a gateway',
    needs: 'send-message',
    capability: 'nonce',
    async check(bench) {
      const run = await bench.gateway();
      const content = 'A test: this is here once.';
      const nonce = `test-${Date.now().toString(36)}`;
      const first = await bench.post(run, content, { nonce });
      const second = await bench.post(run, content, { nonce });
      if (first !== second) throw new Broken(`it posted twice: ${first} and ${second}`);
      const other = await bench.post(run, content, { nonce: `${nonce}-2` });
      if (other === first) throw new Broken('it takes another nonce for the same');
    },
  },
  {
    id: 'find',
    rule: 'Finds what it posted, and nothing that it did not.',
    section: 'To a gateway: `find_message`',
    needs: 'send-message',
    capability: 'find',
    v1: true,
    async check(bench) {
      const run = await bench.gateway();
      const after = new Date(Date.now() - 60_000).toISOString();
      const nonce = `find-${Date.now().toString(36)}`;
      const content = `A test: this is looked for (${nonce}).`;
      const id = await bench.post(run, content, { nonce });
      const look = { type: 'find_message', chat_id: bench.chat, author: 'self', after };
      const found = await bench.ask(run, { ...look, content, nonce });
      if (found.type !== 'message_found') throw new Broken(`it answered ${found.type}`);
      if (found.message_id !== id) {
        throw new Broken(`it posted ${id} and found ${found.message_id}`);
      }
      const other = { content: `${content} never posted`, nonce: `${nonce}-no` };
      const none = await bench.ask(run, { ...look, ...other });
      if (none.type !== 'message_not_found') {
        throw new Broken(`of a text that was never posted it says ${none.type}`);
      }
    },
  },
  {
    id: 'typing',
    rule: 'Answers no send_typing.',
    section: 'To a gateway: `send_typing`',
    async check(bench) {
      const run = await bench.gateway();
      const before = run.unasked.length;
      run.send({ type: 'send_typing', chat_id: bench.chat, duration: 1000 });
      await bench.checkAlive(run, 'send_typing');
      const answer = run.unasked[before];
      if (answer !== undefined) throw new Broken(`it answered ${answer.type}`);
    },
  },
  {
    id: 'buttons',
    rule: 'Posts a message with buttons.',
    section: 'To a gateway: `send_message`',
    needs: 'send-message',
    capability: 'inline_keyboard',
    async check(bench) {
      const inline_keyboard = [[{ text: 'Yes', data: 'test:yes' }], [{ text: 'No', data: 'no' }]];
      await bench.post(await bench.gateway(), 'A test: a question.', { inline_keyboard });
    },
  },
  answers('press-answer', 'Answers answer_callback_query, also of a press that is gone.', {
    section: 'To a gateway: `answer_callback_query`',
    capability: 'inline_keyboard',
    request: { type: 'answer_callback_query', callback_query_id: 'no-such-press-0', text: 'Done.' },
  }),
  answers('media', 'Answers send_media.', {
    section: 'To a gateway: `send_media`',
    capability: 'media',
    request: {
      type: 'send_media',
      media: { base64: 'QSB0ZXN0Lgo=', name: 'test.txt', mime: 'text/plain' },
      caption: 'A test: a file.',
    },
  }),
];

function refusesUnknown(capability: 'edit' | 'delete', request: object): Rule {
  return {
    id: `${capability}-unknown`,
    rule: `Refuses to ${capability} a message that is not there, and goes on.`,
    section: 'Refusals of a gateway',
    capability,
    async check(bench) {
      const run = await bench.gateway();
      const message_id = NO_SUCH_MESSAGE;
      const answer = await bench.ask(run, { ...request, chat_id: bench.chat, message_id });
      if (answer.type !== 'command_error') {
        throw new Broken(`it answered ${answer.type} of a message that never was`);
      }
      await bench.checkAlive(run, 'the refusal');
    },
  };
}

/** A request whose effect only the platform knows: it has to be answered. */
function answers(
  id: string,
  rule: string,
  about: { section: string; capability: GatewayCapability; request: object },
): Rule {
  const { request, ...more } = about;
  return {
    id,
    rule,
    ...more,
    async check(bench) {
      const answer = await bench.ask(await bench.gateway(), { chat_id: bench.chat, ...request });
      if (answer.type !== 'command_ok' && answer.type !== 'command_error') {
        throw new Broken(`it answered ${answer.type}`);
      }
    },
  };
}
