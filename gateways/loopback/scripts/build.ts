import path from 'node:path';
import { bundlePackage } from '../../../scripts/bundle.ts';

// Builds what is published as `@duragent/gateway-loopback`.
// Into `dist/`, or the folder that is named.

const folder = path.join(import.meta.dirname, '..');

await bundlePackage({
  folder,
  into: process.argv[2],
  command: 'duragent-gateway-loopback',
  assets: [path.join(folder, 'README.md'), path.join(folder, '../../LICENSE')],
});
