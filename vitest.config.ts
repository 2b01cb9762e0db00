import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';

/** Packages of this repository are read from their sources: no build is needed before a test. */
const conditions = ['@duragent/source', 'module', 'node', 'development|production'];

const exclude = ['**/node_modules/**', '**/dist/**'];
const [e2e, int] = ['**/*.e2e.test.ts', '**/*.int.test.ts'];

/** Stories first: one that takes long should not be what all wait for in the end. */
const order = ['e2e', 'int', 'unit'];
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ project }: TestSpecification): number => order.indexOf(project.name);
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'e2e',
          include: [e2e],
          exclude,
          globalSetup: ['test/support/programs-setup.ts'],
        },
      },
      { extends: true, test: { name: 'int', include: [int], exclude } },
      {
        extends: true,
        // Pure or in memory: what one file leaves behind in its modules does not reach another's tests.
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...exclude, e2e, int],
          isolate: false,
        },
      },
    ],
    sequence: { sequencer: LongestFirst },
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
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
