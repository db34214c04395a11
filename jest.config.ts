/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';
import { slowness } from './packages/testing/src/slowness.ts';

// Tests run on the sources: the `@ns/source` export condition points into src/, swc strips the types.
const shared: Config = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  testEnvironment: 'node',
  testEnvironmentOptions: {
    customExportConditions: ['@ns/source', 'node', 'node-addons'],
    // What guards deleted globals is wrapped once more for each file: in one process for all, to the end of the stack.
    globalsCleanup: 'off',
  },
  modulePathIgnorePatterns: ['/dist/'],
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
};

const config: Config = {
  // The machines that run these have two cores and other work to do. (Only here: of a project Jest takes no time.)
  testTimeout: 40_000 * slowness,
  // Every worker uses more than two bytes, so it is replaced after each file: what one root test does to its namespaces
  // never reaches the next. (Up to 1 the number would be a share of the machine's memory.)
  workerIdleMemoryLimit: 2,
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/packages/*/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '\\.root\\.test\\.ts$'],
    },
    {
      ...shared,
      displayName: 'root',
      testMatch: ['<rootDir>/packages/*/test/**/*.root.test.ts', '<rootDir>/examples/test/**/*.root.test.ts'],
    },
  ],
};
export default config;
