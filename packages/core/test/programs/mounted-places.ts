import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { Container } from '@ns/core';

// For a mount namespace of its own. What a container sees of places of the machine in which something is mounted, with and
// without data, and what it sees of them when it is started again without.
const [inTmp, inVar, inOpt] = ['/tmp', '/var', '/opt'].map((path) => mkdtempSync(`${path}/mounted-places-`)) as [
  string,
  string,
  string,
];
const script = `
  test -e ${inTmp} && echo seen; echo made >> /tmp/made && cat /tmp/made
  touch /var/made 2>/dev/null || echo read-only; cat ${inVar}/sys/kernel/ostype 2>/dev/null
  touch /opt/made 2>/dev/null || echo read-only; test -d ${inOpt}/below && echo below; true`;

const mount = (type: string, place: string) => execFileSync('mount', ['-t', type, 'of-a-test', place]);
mount('mqueue', inTmp);
mount('proc', inVar);
mount('tmpfs', inOpt);
mkdirSync(`${inOpt}/below`);

await using container = await Container.create({ command: ['sleep', '60'], idMap: 'auto' });
const look = async () => {
  await container.start();
  const { stdout } = await container.exec('sh', ['-c', script], { check: true });
  await container.stop({ signal: 'SIGKILL' });
  return { sees: stdout.split('\n').slice(0, -1), changes: (await container.diff()).map(({ path }) => path) };
};
const mounted = await look();
for (const place of [inTmp, inVar, inOpt]) execFileSync('umount', [place]);
const gone = await look();
for (const place of [inTmp, inVar, inOpt]) rmdirSync(place);
console.log(JSON.stringify({ mounted, gone }));
