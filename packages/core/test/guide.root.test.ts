import { existsSync, readFileSync } from 'node:fs';
import { needs, notRoot } from '@ns/testing';
import { useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

useOwnHost();
const missing: Readonly<Record<string, string | undefined>> = {
  '## Test against a real database': existsSync('/usr/lib/postgresql/15')
    ? undefined
    : 'PostgreSQL 15 is not installed',
};

/** The first program below a heading of a document. */
function programBelow(heading: string, file: string): string {
  const text = readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');
  return /^```ts\n(.*?)^```$/ms.exec(text.slice(text.indexOf(`${heading}\n`)))![1]!;
}

// Those that need nothing but this machine, as they stand there; the others have tests and examples of their own.
for (const [file, heading, printed] of [
  ['README.md', '# ns', /^42\n 0 exit\n$/],
  ['docs/guide.md', '## Run code I do not trust', /^0 45\n\n$/],
  ['docs/guide.md', '## Test against a real database', /^postgres:\/\/postgres@127.0.0.1:\d+\/postgres\n(\d+\n){2}$/],
  ['docs/guide.md', '## Start many sandboxes fast', /^\[ '1', '4', '9' \]\n$/],
  ['docs/guide.md', '## Keep a service running and look into it', /^\d+\nUSER.* python3 -m http.server 8080\n/s],
  ['docs/guide.md', '## Connect containers with each other, the host and the world', /hostPort: \d+.*name: 'shop'/s],
  ['docs/guide.md', '## Decide about system calls in TypeScript', /^mkdir: .*b.: Operation not permitted\n\n$/],
  ['docs/guide.md', '## Debug a container that has no shell', /^USER.* sleep 60\n.* ps aux\n/s],
] as const)
  needs(notRoot ?? missing[heading])(
    `${file}: ${heading}`,
    async () => {
      using program = new NodeProgram('guide', programBelow(heading, file));
      expect(await program.run()).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(printed), stderr: '' });
    },
    60_000,
  );
