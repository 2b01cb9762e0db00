import { describe, expect, it } from 'vitest';
import type { Agent } from '../agent.ts';
import { contextAgent } from '../context/testing.ts';
import { foldOn } from '../session/fold.ts';
import { initialState } from '../session/state.ts';
import { answer, Drive, failure, say, START } from '../session/testing.ts';
import { emptyWindow } from '../session/window.ts';
import { cutCall } from './cut-call.ts';

const agent = contextAgent();

function cutOf(drive: Drive, now = drive.rules.now, by: Agent = agent) {
  const { state, window } = foldOn({ state: initialState(), window: emptyWindow() }, drive.events);
  return cutCall(state, window, by, now);
}

function asked(text = 'x'.repeat(400)): Drive {
  const drive = new Drive();
  drive.submit(START);
  drive.submit(say('1', { content: [{ type: 'text', text }] }));
  return drive;
}

describe('a call that a crash cut', () => {
  it('is the attempt that was under way, with its input and all that it may have said', () => {
    const drive = asked();
    const { turn } = drive.last('turn_started');
    expect(cutOf(drive)).toMatchObject({
      turn,
      step: 1,
      attempt: 1,
      candidate: 0,
      maxOutputTokens: 1000,
    });
    expect(cutOf(drive)?.inputTokens).toBeGreaterThan(100);
    drive.crash();
    expect(cutOf(drive)).toMatchObject({ attempt: 2 });
  });

  it('is taken for as large as the one before and all since, where there was one', () => {
    const drive = asked('short');
    drive.submit((state) => answer(state, { usage: { input_tokens: 5000, output_tokens: 70 } }));
    drive.submit(say('2', { content: [{ type: 'text', text: 'x'.repeat(4_000) }] }));
    const input = cutOf(drive)?.inputTokens ?? 0;
    expect(input).toBeGreaterThan(6_000);
    expect(input).toBeLessThan(6_500);
  });

  it('is not larger than its model’s window', () => {
    const small = { ...agent.models[0], maxInputTokens: 50 };
    expect(cutOf(asked(), undefined, { ...agent, models: [small] })?.inputTokens).toBe(50);
  });

  it('is the fallback’s once that was asked', () => {
    const drive = new Drive();
    drive.rules.limits = { ...drive.rules.limits, fallbacks: 1, model_retries: 0 };
    drive.submit(START);
    drive.submit(say('1'));
    drive.submit((state) => failure(state));
    const fallback = { ...agent.models[0], name: 'gpt-5-mini', maxOutputTokens: 7 };
    const two: Agent = { ...agent, models: [agent.models[0], fallback] };
    expect(cutOf(drive, drive.rules.now, two)).toMatchObject({ candidate: 1, maxOutputTokens: 7 });
    // The agent was edited meanwhile.
    expect(cutOf(drive)).toBeNull();
  });

  it('there is none before a turn, behind it, while tools run, and while a try waits', () => {
    const drive = new Drive();
    drive.submit(START);
    expect(cutOf(drive)).toBeNull();
    drive.submit(say('1'));
    drive.submit((state) => failure(state));
    const retryAt = Date.parse(drive.state.turn?.retryAt ?? '');
    expect(cutOf(drive, retryAt - 1)).toBeNull();
    expect(cutOf(drive, retryAt)).not.toBeNull();
    drive.submit((state) =>
      answer(state, {
        tool_calls: [{ call: 'call_a', provider_call_id: 'a', name: 'read', arguments: {} }],
      }),
    );
    expect(cutOf(drive, retryAt)).toBeNull();
  });

  it('is one that a stopping server gave up, too, but none of a turn that everyone had left', () => {
    const drive = asked();
    drive.submit({ type: 'drain' });
    expect(cutOf(drive)).not.toBeNull();
    const left = drive.events.map((event) =>
      event.type === 'turn_paused' ? { ...event, reason: 'disconnected' as const } : event,
    );
    const { state, window } = foldOn({ state: initialState(), window: emptyWindow() }, left);
    expect(cutCall(state, window, agent, 0)).toBeNull();
  });
});
