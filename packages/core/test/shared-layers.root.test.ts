import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ContainerProcess, run } from '@ns/core';
import { eventually, needs, notRoot } from '@ns/testing';

const MANY = 1000;
const FILE_BYTES = 2 * 2 ** 20;

/** Bytes that the files below a directory take on the disk. */
const diskBytes = (directory: string) =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => lstatSync(join(directory, name)).blocks * 512)
    .reduce((sum, bytes) => sum + bytes, 0);

/** Kilobytes of a process's program that are in memory, and how many of these nobody else has mapped. */
function programPages(pid: number): { resident: number; alone: number } {
  const [header, ...lines] = readFileSync(`/proc/${pid}/smaps`, 'utf8')
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .find((mapping) => /^\S+ r-xp .*\/bin\/busybox$/m.test(mapping))!
    .split('\n');
  const of = (name: string) => Number(lines.find((line) => line.startsWith(`${name}:`))?.replace(/\D/g, ''));
  expect(header).toContain('/bin/busybox');
  return { resident: of('Rss'), alone: of('Private_Clean') + of('Private_Dirty') };
}

needs(notRoot)(
  `${MANY} containers from one set of layers share its memory and its disk`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ns-shared-'));
    const previous = process.env.NS_STATE_ROOT;
    process.env.NS_STATE_ROOT = join(dir, 'state');
    const layers = ['top', 'base'].map((name) => join(dir, name));
    const processes: ContainerProcess[] = [];
    try {
      chmodSync(dir, 0o755);
      for (const layer of layers) mkdirSync(join(layer, 'bin'), { recursive: true });
      copyFileSync('/bin/busybox', join(layers[1]!, 'bin/busybox'));
      writeFileSync(join(layers[1]!, 'big'), Buffer.alloc(FILE_BYTES, 1));
      writeFileSync(join(layers[0]!, 'name'), 'shared');
      // What is opened once, for all that follow.
      await run(['/bin/busybox', 'true'], { rootfs: { layers } });
      const openBefore = readdirSync('/proc/self/fd').length;
      const bytesBefore = diskBytes(dir);

      const script = 'busybox cat /big > /dev/null; echo "$0" > /name; echo ready; exec busybox sleep 600';
      for (let n = 0; n < MANY; n++)
        processes.push(
          run(['/bin/busybox', 'sh', '-c', script, String(n)], { rootfs: { layers }, stdin: 'null', init: false }),
        );
      const ends = Promise.all(processes);
      await Promise.all(
        processes.map(async ({ started, stdout }) => {
          const [{ value }] = await Promise.all([stdout[Symbol.asyncIterator]().next(), started]);
          expect(String(value)).toBe('ready\n');
        }),
      );

      // Copies would take 2 GB.
      expect(diskBytes(dir) - bytesBefore).toBeLessThan((MANY * FILE_BYTES) / 4);
      // The kernel has a file in memory once for all who read that inode.
      const { ino } = statSync(join(layers[1]!, 'big'));
      expect(readFileSync(join(layers[0]!, 'name'), 'utf8')).toBe('shared');
      for (const [n, { pid }] of processes.entries()) {
        expect(readFileSync(`/proc/${pid}/root/name`, 'utf8')).toBe(`${n}\n`);
        expect(statSync(`/proc/${pid}/root/big`).ino).toBe(ino);
        const { resident, alone } = programPages(pid!);
        expect(resident).toBeGreaterThan(0);
        expect(alone).toBe(0);
      }
      for (const container of processes) container.kill('SIGKILL');
      await ends;
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
      // Those of programs are kept for a moment.
      expect(await eventually(() => readdirSync('/proc/self/fd').length <= openBefore + 2)).toBe(true);
    } finally {
      for (const container of processes) container.kill('SIGKILL');
      await Promise.allSettled(processes);
      if (previous === undefined) delete process.env.NS_STATE_ROOT;
      else process.env.NS_STATE_ROOT = previous;
      rmSync(dir, { recursive: true, force: true });
    }
  },
  120_000,
);
