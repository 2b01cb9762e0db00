import { serveGateway } from '@duragent/protocol/node';
import { LoopbackGateway } from './gateway.ts';

process.exitCode = await serveGateway(new LoopbackGateway());
