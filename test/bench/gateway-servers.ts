import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Running } from './processes.ts';
import type { ScriptedGateway, ScriptedGateways } from './scripted-gateways.ts';
import { startDuragent } from './servers.ts';
import type { Workshop } from './workshop.ts';

/** A server under measurement and its scripted gateways. */
export interface GatewayServer {
  running: Running;
  /** The first of them. */
  gateway: ScriptedGateway;
  others: readonly ScriptedGateway[];
  /** Asks the server to end, and waits until it and its gateways have. */
  stop(): Promise<void>;
}

/** In direct chats everybody is answered, by echo; what is said in groups is kept, and nobody answers. */
const agent = `name: echo
model: { provider: echo }
access:
  dm: { policy: open }
  groups: { policy: open, sender_default: silent }
  queue: { mode: sequential, debounce: { enabled: false } }
`;

/** Starts Duragent with so many scripted gateways, and resolves when all of them are ready. */
export async function startWithGateways(
  workshop: Workshop,
  gateways: ScriptedGateways,
  count: number,
): Promise<GatewayServer> {
  const workspace = workshop.newDirectory('workspace');
  const expected = Array.from({ length: count }, () => gateways.expect());
  const external = expected.map(({ config }, index) => ({
    name: `scripted-${index}`,
    command: process.execPath,
    args: [workshop.programs.gateway],
    config,
  }));
  mkdirSync(path.join(workspace, 'agents/echo'), { recursive: true });
  writeFileSync(path.join(workspace, 'agents/echo/agent.yaml'), agent);
  writeFileSync(
    path.join(workspace, 'duragent.yaml'),
    `data_dir: ./data\nagents: { static: { path: ./agents } }\ndefault_agent: echo\ngateways: ${JSON.stringify({ external })}\n`,
  );
  const server = await startDuragent(workshop, workspace);
  const [gateway, ...others] = await Promise.all(expected.map(({ connected }) => connected));
  if (gateway === undefined) throw new Error('a server without gateways was asked for');
  return { running: server.running, gateway, others, stop: () => server.stop() };
}

/** Starts the floor, which keeps its files in a new directory. */
export async function startGatewayFloor(
  workshop: Workshop,
  gateways: ScriptedGateways,
  mode: 'acks' | 'answers',
): Promise<GatewayServer> {
  const { gatewayFloor, gateway: script } = workshop.programs;
  const { config, connected } = gateways.expect();
  const directory = workshop.newDirectory('floor');
  const running = workshop.processes.start(
    [gatewayFloor, mode, directory, script, JSON.stringify(config)],
    { cwd: directory, log: workshop.log },
  );
  return {
    running,
    gateway: await connected,
    others: [],
    stop: () => workshop.processes.stop(running),
  };
}
