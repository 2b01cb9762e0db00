import { expect, test } from 'vitest';
import type { AgentTool } from '../../core/agent.ts';
import { testAgent } from '../testing.ts';
import { testTool } from './testing.ts';
import { AgentToolbox } from './toolbox.ts';

const run = () => Promise.resolve({ outcome: 'ok' as const, content: '' });

test('built-in tools become of what the agent says when they are cut, but no effect is repeated', async () => {
  const toolbox = new AgentToolbox({
    builtin: (name) => [
      testTool({ name, run, effect: name === 'bash' ? 'effectful' : 'pure' }),
      testTool({ name: `${name}_write`, run, effect: 'effectful' }),
    ],
    always: () => [],
    mcp: () => Promise.resolve([]),
    cli: () => Promise.resolve([]),
  });
  const interruptsOf = async (...tools: AgentTool[]) =>
    [...(await toolbox.toolsOf(testAgent({ tools }))).values()].map((tool) => tool.onInterrupt);
  expect(await interruptsOf({ type: 'builtin', name: 'bash' })).toEqual([
    'tell_model',
    'tell_model',
  ]);
  expect(await interruptsOf({ type: 'builtin', name: 'bash', onInterrupt: 'ask' })).toEqual([
    'ask',
    'ask',
  ]);
  expect(await interruptsOf({ type: 'builtin', name: 'memory', onInterrupt: 'retry' })).toEqual([
    'retry',
    'tell_model',
  ]);
});
