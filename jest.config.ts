/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

// Tests run on the sources: the `@ns/source` export condition points into src/, swc strips the types.
const shared: Config = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }] },
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@ns/source', 'node', 'node-addons'] },
  modulePathIgnorePatterns: ['/dist/'],
};

const config: Config = {
  // A worker that grew is replaced after each file: namespace calls of one root test never reach the next.
  workerIdleMemoryLimit: 1,
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/packages/*/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '\\.root\\.test\\.ts$'],
    },
    { ...shared, displayName: 'root', testMatch: ['<rootDir>/packages/*/test/**/*.root.test.ts', '<rootDir>/examples/test/**/*.root.test.ts'] },
  ],
};
export default config;
