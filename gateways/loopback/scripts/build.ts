import path from 'node:path';
import { bundlePackage } from '../../../scripts/bundle.ts';

// Builds what is published as `@duragent/gateway-loopback`.

const folder = path.join(import.meta.dirname, '..');

await bundlePackage({
  folder,
  command: 'duragent-gateway-loopback',
  assets: [path.join(folder, 'README.md'), path.join(folder, '../../LICENSE')],
});
