import manifest from '../package.json' with { type: 'json' };

/** Of this program; filled in by the build, in the repository there is no build. */
declare const DURAGENT_COMMIT: string | undefined;
declare const DURAGENT_BUILD_HASH: string | undefined;

export const { version } = manifest;
export const commit = typeof DURAGENT_COMMIT === 'undefined' ? 'source' : DURAGENT_COMMIT;
export const buildHash =
  typeof DURAGENT_BUILD_HASH === 'undefined' ? 'source' : DURAGENT_BUILD_HASH;
