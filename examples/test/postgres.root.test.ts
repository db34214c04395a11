import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { needs, notRoot } from '@ns/testing';

const missing = existsSync('/usr/lib/postgresql') ? undefined : 'PostgreSQL is not installed';

needs(notRoot ?? missing)(
  'a database runs in a sandbox, is waited for, answers, and is gone',
  () => {
    const output = execFileSync(process.execPath, [fileURLToPath(new URL('../dist/postgres.js', import.meta.url))], {
      encoding: 'utf8',
    });
    expect(output).toMatch(/is ready after \d/);
    expect(output).toContain('2 visits by ada and grace');
    expect(output).toMatch(/nothing of it is left\n$/);
  },
  60_000,
);
