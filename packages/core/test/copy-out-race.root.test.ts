import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Container, Wait } from '@ns/core';
import { NsError } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';
import { useOwnDirectory } from './own-directory.ts';

const test = needs(notRoot);
const dir = useOwnDirectory('copy-out-race');

/** Regular files below a directory; links are not followed, as `readdir` would with `recursive`. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}

test('10,000 files copied out of a container that swaps its directories for links have nothing of the host (CVE-2018-15664)', async () => {
  const host = join(dir, 'host');
  mkdirSync(host);
  for (let i = 0; i < 100; i++) writeFileSync(join(host, String(i)), 'host\n');
  const swap = `
    mkdir /data && cd /data
    for d in $(seq 0 99); do mkdir d$d; for f in $(seq 0 99); do echo inside > d$d/$f; done; done
    ln -s ${host} evil
    echo ready
    while :; do for d in $(seq 0 99); do mv d$d x; mv -T evil d$d; mv -T d$d evil; mv -T x d$d; done; done`;
  await using container = await Container.create({ command: ['sh', '-c', swap], wait: Wait.log(/ready/) });
  await container.start();
  for (const out of ['one', 'two'].map((name) => join(dir, name))) {
    mkdirSync(out);
    // What vanishes under our eyes may end it, in an error of ours.
    await container.copyOut('/data', out).catch((error) => expect(error).toBeInstanceOf(NsError));
    expect(filesBelow(out).map((file) => readFileSync(file, 'utf8'))).not.toContain('host\n');
  }
  await container.kill();
  await container.wait();
  await container.copyOut('/data', join(dir, 'still'));
  expect(filesBelow(join(dir, 'still'))).toHaveLength(10_000);
}, 60_000);
