import { defineConfig } from 'vitest/config';

/** Packages of this repository are read from their sources: no build is needed before a test. */
const conditions = ['@duragent/source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Also matches `*.contract.test.ts`, `*.int.test.ts` and `*.e2e.test.ts`.
    include: ['**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    restoreMocks: true,
    unstubEnvs: true,
    unstubGlobals: true,
    coverage: {
      provider: 'v8',
      include: ['protocol/src/**/*.ts', 'apps/*/src/**/*.ts', 'gateways/*/src/**/*.ts'],
      exclude: ['**/*.test.ts', '**/*.contract.ts'],
      reporter: ['text-summary', 'html'],
    },
  },
});
