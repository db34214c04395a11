// npm run soak -- [--minutes N] [--seed N]: random operations and kills for as long as you like; see
// packages/core/test/soak.root.test.ts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string' } } });
const { NODE_EXTRA_CA_CERTS, ...env } = process.env;
const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
const { status } = spawnSync(process.execPath, [...jest, 'packages/core/test/soak.root', '--selectProjects', 'root'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
  env: {
    ...env,
    PATH: `${env.PATH}:/usr/sbin:/sbin`,
    SOAK_MINUTES: values.minutes,
    ...(values.seed && { SOAK_SEED: values.seed }),
  },
});
process.exitCode = status ?? 1;
