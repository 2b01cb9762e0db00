import { setTimeout as delay } from 'node:timers/promises';
import type { TelegramControl } from '../../gateways/telegram/simulator/control.ts';

/** What a person said to the bot. */
export interface Said {
  /** Stands in its text and in no other: `m17q`. */
  mark: string;
  place: Place;
  message_id: number;
  update_id: number;
  /** In ms since 1970. */
  at: number;
  /** Whether it is to be answered. */
  isAsked: boolean;
  /** SHA-256 of the file that was sent with it; null: none was. */
  sha256: string | null;
}

/** A chat or topic where people speak. */
export interface Place {
  name: string;
  chat_id: number;
  thread_id?: number;
  /** Ids of the people; in a private chat the one. */
  people: readonly number[];
  isGroup: boolean;
}

const PEOPLE = 12;
/** Messages of a place that wait for an answer before nobody speaks there. */
const MAX_WAITING = 3;
/** After so long it is no reason any more not to speak, in ms. */
const PATIENCE_MS = 30_000;
/** Between two questions in a group: Telegram takes 20 messages a minute there. */
const GROUP_REST_MS = 8_000;

/** People who speak with the bot, all at once: alone, in a group, and in the topics of a forum. */
export class Crowd {
  readonly said: Said[] = [];
  readonly places: readonly Place[];
  readonly #control: TelegramControl;
  readonly #random: () => number;
  readonly #waiting = new Map<string, Said>();
  readonly #restUntil = new Map<Place, number>();
  #talk: Promise<void> = Promise.resolve();
  #isSpeaking = false;

  constructor(control: TelegramControl, random: () => number) {
    this.#control = control;
    this.#random = random;
    const people = Array.from(
      { length: PEOPLE },
      (_, index) => control.createUser({ first_name: `Person ${index + 1}` }).id,
    );
    const members = people.slice(0, 3);
    const group = control.createChat({ type: 'supergroup', title: 'Group', members });
    const forum = control.createChat({
      type: 'supergroup',
      title: 'Forum',
      members,
      is_forum: true,
    });
    const [first = 0] = members;
    const topics = ['one', 'two'].map((name) => {
      const topic = control.createTopic({ chat_id: forum.id, user_id: first, name });
      return { name: `topic ${name}`, thread_id: topic.message_thread_id };
    });
    this.places = [
      ...people.map((id, index) => {
        return { name: `person ${index + 1}`, chat_id: id, people: [id], isGroup: false };
      }),
      { name: 'group', chat_id: group.id, people: members, isGroup: true },
      ...topics.map((topic) => ({ ...topic, chat_id: forum.id, people: members, isGroup: true })),
    ];
  }

  /** Lets people speak until `silence`. */
  speak(): void {
    this.#isSpeaking = true;
    this.#talk = this.#speak();
  }

  async silence(): Promise<void> {
    this.#isSpeaking = false;
    await this.#talk;
  }

  /** Somebody says a last thing in every place. */
  sayLast(): void {
    for (const place of this.places) this.#say(place, { isAsked: true, hasFile: false });
  }

  /** The answer to a message began to be shown. */
  answered(mark: string): void {
    this.#waiting.delete(mark);
  }

  async #speak(): Promise<void> {
    while (this.#isSpeaking) {
      const place = this.places[Math.floor(this.#random() * this.places.length)];
      const [chance, pause] = [this.#random(), this.#random()];
      if (place !== undefined) this.#maySpeak(place, chance);
      await delay(100 + pause * 300);
    }
  }

  #maySpeak(place: Place, chance: number): void {
    const now = Date.now();
    const isFull =
      [...this.#waiting.values()].filter((one) => one.place === place && now - one.at < PATIENCE_MS)
        .length >= MAX_WAITING;
    const isResting = (this.#restUntil.get(place) ?? 0) > now;
    // What nobody asks the bot needs no answer, and is said at any time.
    const isAsked = !place.isGroup || !(isFull || isResting || chance < 0.4);
    if (isFull && isAsked) return;
    if (place.isGroup && isAsked) this.#restUntil.set(place, now + GROUP_REST_MS);
    this.#say(place, { isAsked, hasFile: !place.isGroup && chance < 0.12 });
    // Now and then somebody says two things in one breath.
    if (isAsked && !place.isGroup && chance > 0.85) {
      this.#say(place, { isAsked: true, hasFile: false });
    }
  }

  #say(place: Place, { isAsked, hasFile }: { isAsked: boolean; hasFile: boolean }): void {
    const mark = `m${this.said.length + 1}q`;
    const person = place.people[this.said.length % place.people.length] ?? 0;
    const name = place.isGroup && isAsked ? `@${this.#control.bot().user.username} ` : '';
    const text = `${name}this is ${mark}`;
    const { chat_id, thread_id } = place;
    const where = { chat_id, user_id: person, ...(thread_id === undefined ? {} : { thread_id }) };
    const bytes = Buffer.from(
      `the file of ${mark}\n`.repeat(1 + Math.floor(this.#random() * 5000)),
    );
    const about = { kind: 'document' as const, name: `${mark}.txt`, mime: 'text/plain' };
    const sent = hasFile
      ? this.#control.sendFile({ ...where, ...about, bytes, caption: text })
      : { ...this.#control.say({ ...where, text }), file: null };
    const { message_id, update_id, file } = sent;
    if (update_id === null) throw new Error(`nobody is told of ${mark}`);
    const sha256 = file === null ? null : file.sha256;
    const said: Said = { mark, place, message_id, update_id, at: Date.now(), isAsked, sha256 };
    this.said.push(said);
    if (isAsked) this.#waiting.set(mark, said);
  }
}
