import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { needs, notRoot } from '@ns/testing';
import { Container, type RunOptions, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Device nodes of a container that could make them where they work, and of one that was given some. */

useOwnStateRoot();
const device = '/dev/loop-control';
const deviceTest = needs(notRoot ?? (existsSync(device) ? undefined : `no ${device} on this machine`));
const opens = (path: string) =>
  `for how in '<' '>'; do if eval "true $how ${path}" 2>/dev/null; then echo yes; else echo no; fi; done`;
const answers = async (script: string, options: RunOptions) => (await run('sh', ['-c', script], options)).stdout.trim();

const make = `mount -t tmpfs none /mnt && mknod /mnt/made c 10 237 && ${opens('/mnt/made')}`;
const mounter = { capabilities: { add: ['SYS_ADMIN'] } };

deviceTest('one that may mount cannot use nodes of its own making, nor can its commands', async () => {
  expect(await answers(make, mounter)).toBe('no\nno');
  await using container = await Container.create({ command: ['sleep', '60'], ...mounter });
  await container.start();
  expect((await container.exec('sh', ['-c', make])).stdout).toBe('no\nno\n');
  // The attempt is one that works where it is allowed.
  expect(await answers(make, { privileged: true })).toBe('yes\nyes');
});

deviceTest('a privileged one has all that this machine has, and by name what it was given', async () => {
  const list = String.raw`find /dev -path /dev/pts -prune -o \( -type b -o -type c \) -printf '%p %y %m %U:%G\n' | sort`;
  const here = execFileSync('sh', ['-c', list], { encoding: 'utf8' }).trim().split('\n');
  const own = /^\/dev\/(null|zero|full|random|urandom|tty|console|ptmx) /;
  const others = (lines: readonly string[]) => lines.filter((line) => !own.test(line));
  await using container = await Container.create({ command: ['sleep', '60'], privileged: true });
  await container.start();
  const inside = (await container.exec('sh', ['-c', list])).stdout.trim().split('\n');
  expect(others(inside)).toEqual(others(here));
  expect(inside).toEqual(expect.arrayContaining(['/dev/null c 666 0:0', '/dev/tty c 666 0:0']));
  expect((await container.exec('sh', ['-c', opens(device)])).stdout).toBe('yes\nyes\n');
  const named = { privileged: true, devices: [`/dev/null:${device}/below`] };
  const found = await answers(`ls -l ${device}; ls /dev | wc -l`, named);
  expect(found).toMatch(/below\n/);
  expect(Number(found.split('\n').at(-1))).toBeGreaterThan(10);
});

const node = `mknod /mnt/made c 10 237 && ${opens('/mnt/made')}`;
const tmpfs = { type: 'tmpfs', target: '/mnt' } as const;

deviceTest('no mount has nodes that work, whatever else it is asked to be', async () => {
  expect(await answers(node, { mounts: [{ ...tmpfs, options: ['noexec', 'noatime'] }] })).toBe('no\nno');
  // Said so, the nodes work that it was given, and no others.
  const dev = { mounts: [{ ...tmpfs, options: ['dev'] }] };
  expect(await answers(node, dev)).toBe('no\nno');
  expect(await answers(node, { ...dev, devices: [device] })).toBe('yes\nyes');
});

deviceTest('what is mounted later is bounded like what was there from the start', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  const dev = { ...tmpfs, options: ['dev'] };
  await expect(container.mount(dev)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'options' });
  await expect(container.update({ mounts: { add: [dev] } })).rejects.toMatchObject({ field: 'mounts.add[0].options' });
  await container.mount({ ...tmpfs, options: ['noexec'] });
  expect((await container.exec('sh', ['-c', node])).stdout).toBe('no\nno\n');
});

deviceTest('one that may mount has the devices that everybody has, and what it was given', async () => {
  const script = `head -c 1 /dev/zero | wc -c; ${opens('/dev/null')}; ${opens(device)}`;
  expect(await answers(script, { ...mounter, devices: [device] })).toBe('1\nyes\nyes\nyes\nyes');
});

deviceTest('permissions are what may be done', async () => {
  const opened = (permissions?: string) =>
    answers(opens(device), { devices: [{ path: device, ...(permissions && { permissions }) }] });
  expect(await opened('r')).toBe('yes\nno');
  expect(await opened('w')).toBe('no\nyes');
  expect(await opened('m')).toBe('no\nno');
  expect(await opened()).toBe('yes\nyes');
});

deviceTest('a device may be told as Docker does', async () => {
  const there = '/dev/some/place/control';
  expect(await answers(opens(there), { devices: [`${device}:${there}`] })).toBe('yes\nyes');
  expect(await answers(opens(there), { devices: [`${device}:${there}:r`] })).toBe('yes\nno');
  expect(await answers(opens(device), { devices: [`${device}:w`] })).toBe('no\nyes');
  await expect(run('true', [], { devices: [`${device}:x`] })).rejects.toMatchObject({ code: 'ERR_NS_DEVICE' });
});

deviceTest('what is no permission is refused', async () => {
  for (const permissions of ['', 'x', 'rr', 'rwmr']) {
    const devices = [{ path: device, permissions }];
    await expect(run('true', [], { devices })).rejects.toMatchObject({ field: 'devices[0].permissions' });
  }
});

deviceTest('the plan that is shown has the cgroup', () => {
  expect(String(Container.explain({ command: ['true'], ...mounter }))).toMatch(/ns-[0-9a-f]{64}/);
});

deviceTest(
  'a device may be in a directory, have another name, and take the place of one that everybody has',
  async () => {
    const devices = [
      { path: device, target: '/dev/some/place/control' },
      { path: '/dev/zero', target: '/dev/full' },
    ];
    const script = "stat -c '%F %t:%T' /dev/some/place/control /dev/full";
    const [control] = execFileSync('stat', ['-c', '%F %t:%T', device], { encoding: 'utf8' }).split('\n');
    for (const idMap of [undefined, 'auto'] as const)
      expect(await answers(script, { devices, ...(idMap && { idMap }) })).toBe(
        `${control}\ncharacter special file 1:5`,
      );
  },
);

const zeroAt = (target: string) => [{ path: '/dev/zero', target }];

const refused: readonly [why: string, field: string, devices: NonNullable<RunOptions['devices']>][] = [
  ['less of what everybody has', 'devices[0].permissions', [{ path: '/dev/null', permissions: 'r' }]],
  ['the same by another name', 'devices[0].permissions', [{ path: '/dev/zero', target: '/dev/q', permissions: 'r' }]],
  ['another null device', 'devices[0].target', zeroAt('/dev/null')],
  ['/dev itself', 'devices[0].target', zeroAt('/dev/')],
  ['a link', 'devices[0].target', zeroAt('/dev/ptmx')],
  ['below a link', 'devices[0].target', zeroAt('/dev/fd/7')],
  ['where something is mounted', 'devices[0].target', zeroAt('/dev/shm')],
  ['below what is mounted later', 'devices[0].target', zeroAt('/dev/pts/./7')],
  ['below a device that everybody has', 'devices[0].target', zeroAt('/dev/null/x')],
  ['below another', 'devices[1].target', [...zeroAt('/dev/q'), ...zeroAt('/dev/q/b')]],
  ['above another', 'devices[1].target', [...zeroAt('/dev/q/b'), ...zeroAt('/dev/q')]],
  ['twice', 'devices[1].target', [device, { path: '/dev/zero', target: device }]],
];
for (const [why, field, devices] of refused)
  deviceTest(`a device is refused: ${why}`, async () => {
    await expect(run('true', [], { devices })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field });
  });

deviceTest('the null device may be named as everything else', async () => {
  const devices = ['/dev/null', { path: '/dev/null', target: '/dev/shm-null', permissions: 'rwm' }];
  expect(await answers("stat -c '%t:%T' /dev/null /dev/shm-null", { devices })).toBe('1:3\n1:3');
});
