import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container } from '@ns/core';
import { eventually, needs, notRoot } from '@ns/testing';

const MANY = 200;
const FILE_BYTES = 8 * 2 ** 20;

/** Bytes of files that the kernel has in memory. */
const pageCache = () => Number(/^Cached:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]) * 1024;

needs(notRoot)(
  `${MANY} containers from one set of layers share its memory and its disk`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ns-shared-'));
    const previous = process.env.NS_STATE_ROOT;
    process.env.NS_STATE_ROOT = join(dir, 'state');
    const layers = ['top', 'base'].map((name) => join(dir, name));
    const containers: Container[] = [];
    try {
      chmodSync(dir, 0o755);
      for (const layer of layers) mkdirSync(join(layer, 'bin'), { recursive: true });
      copyFileSync('/bin/busybox', join(layers[1]!, 'bin/busybox'));
      writeFileSync(join(layers[1]!, 'big'), Buffer.alloc(FILE_BYTES, 1));
      writeFileSync(join(layers[0]!, 'name'), 'shared');
      {
        // What is opened once, for all that follow.
        await using first = await Container.create({ command: ['/bin/busybox', 'true'], rootfs: { layers } });
        await first.start();
        await first.wait();
      }
      const openBefore = readdirSync('/proc/self/fd').length;
      const cachedBefore = pageCache();
      const script = 'busybox cat /big | busybox wc -c; echo "$0" > /name; busybox cat /name; exec busybox sleep 600';
      const begin = async (n: number) => {
        const container = await Container.create({
          command: ['/bin/busybox', 'sh', '-c', script, String(n)],
          rootfs: { layers },
        });
        containers.push(container);
        await container.start();
        const lines: string[] = [];
        for await (const { data } of container.logs({ follow: true })) {
          lines.push(String(data));
          if (lines.join('').endsWith(`\n${n}\n`)) break;
        }
        expect(lines.join('')).toBe(`${FILE_BYTES}\n${n}\n`);
      };
      for (let n = 0; n < MANY; n += 8) await Promise.all(Array.from({ length: 8 }, (_, i) => begin(n + i)));
      expect(await Container.list({ status: 'running' })).toHaveLength(MANY);
      // Copies would take 1.6 GB. What others read meanwhile counts too.
      expect(pageCache() - cachedBefore).toBeLessThan((MANY * FILE_BYTES) / 4);
      expect(readFileSync(join(layers[0]!, 'name'), 'utf8')).toBe('shared');
      expect(await containers.at(-1)!.diff()).toMatchObject([{ kind: 'modified', path: '/name' }]);

      for (let n = 0; n < MANY; n += 8)
        await Promise.all(containers.slice(n, n + 8).map((container) => container.remove({ force: true })));
      expect(await Container.list()).toEqual([]);
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
      // Those of programs are kept for a moment.
      expect(await eventually(() => readdirSync('/proc/self/fd').length <= openBefore + 2, 3000)).toBe(true);
    } finally {
      await Promise.all(containers.map((container) => container.remove({ force: true })));
      if (previous === undefined) delete process.env.NS_STATE_ROOT;
      else process.env.NS_STATE_ROOT = previous;
      rmSync(dir, { recursive: true, force: true });
    }
  },
  120_000,
);
