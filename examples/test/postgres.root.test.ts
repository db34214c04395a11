import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { needs, notRoot } from '@ns/testing';
import { exampleFile, notBuilt } from './own-network.ts';

const program = exampleFile('postgres');
const missing = existsSync('/usr/lib/postgresql') ? undefined : 'PostgreSQL is not installed';

needs(notRoot ?? missing ?? notBuilt(program))(
  'a database runs in a sandbox, is waited for, answers, and is gone',
  () => {
    const output = execFileSync(process.execPath, [program], { encoding: 'utf8' });
    expect(output).toMatch(/is ready after \d/);
    expect(output).toContain('2 visits by ada and grace');
    expect(output).toMatch(/nothing of it is left\n$/);
  },
  60_000,
);
