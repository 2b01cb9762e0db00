import { openStage, spawnTool } from './background-process-stage.testing.ts';

/**
 * A server with background processes, as a process of its own that can be killed:
 * `node background-process-server.testing.ts MODE FOLDER MARKER [COMMAND]`. It starts a plain
 * process of sleeps of MARKER seconds and, where COMMAND is given, an interactive one of it.
 */
const [mode, base = '', marker = '', command] = process.argv.slice(2);
const stage = await openStage(base, mode === 'trust' ? 'trust' : 'bubblewrap');
const quiet = '</dev/null >/dev/null 2>&1';
const plain = await spawnTool(
  stage,
  `echo begun; sleep ${marker} & setsid nohup sleep ${marker} ${quiet} & sleep ${marker}`,
);
const interactive =
  command === undefined ? null : await spawnTool(stage, command, { interactive: true });
process.stdout.write(`${JSON.stringify({ plain, interactive })}\n`);
setInterval(() => undefined, 1000);
