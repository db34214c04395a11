import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container } from '@ns/core';
import { needs, notRoot } from '@ns/testing';

const test = needs(notRoot);
let dir: string;
/** Topmost first. */
let layers: string[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ns-many-layers-'));
  layers = Array.from({ length: 520 }, (_, index) => join(dir, String(index)));
  layers.forEach((layer, index) => {
    mkdirSync(join(layer, 'from'), { recursive: true });
    writeFileSync(join(layer, 'from', String(index)), '');
    writeFileSync(join(layer, 'topmost'), `${index}\n`);
  });
  mkdirSync(join(layers[519]!, 'bin'));
  copyFileSync('/bin/busybox', join(layers[519]!, 'bin/busybox'));
});

afterAll(() => {
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
  rmSync(dir, { recursive: true, force: true });
});

for (const [whose, ids] of [
  ['of root', {}],
  ['with ids of its own', { idMap: 'auto' }],
] as const) {
  test(`a container ${whose} has 520 layers`, async () => {
    const script = 'busybox ls /from | busybox wc -l; busybox cat /topmost; busybox rm /from/519; echo new > /from/0';
    await using container = await Container.create({
      command: ['/bin/busybox', 'sh', '-c', script],
      rootfs: { layers },
      ...ids,
    });
    await container.start();
    const { stdout, stderr } = await container.wait();
    expect([stdout, stderr]).toEqual(['520\n0\n', '']);
    expect((await container.diff()).map(({ kind, path }) => `${kind} ${path}`)).toEqual(
      expect.arrayContaining(['deleted /from/519', 'modified /from/0']),
    );
    await container.copyOut('/topmost', join(dir, 'copied'));
    expect(readFileSync(join(dir, 'copied'), 'utf8')).toBe('0\n');
  });
}

test('more than overlays on overlays can hold are refused, with what to do', () => {
  const rootfs = { layers: [...layers, ...layers] };
  expect(() => Container.explain({ command: ['true'], rootfs })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', hint: expect.stringContaining('applyLayer') }),
  );
});
