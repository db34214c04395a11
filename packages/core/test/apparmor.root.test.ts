import { appArmorSupport, builtInAppArmorProfile, listAppArmorProfiles, removeAppArmorProfile } from '@ns/lsm';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';

/* Docker's meaning of "no profile named". */

const { available, why } = appArmorSupport();
const appArmor = needs(notRoot ?? (available ? undefined : `AppArmor: ${why}`));
const { name } = builtInAppArmorProfile();

const label = ['cat', '/proc/self/attr/current'] as const;

appArmor('the default profile confines what nobody said anything about', async () => {
  const { stdout, warnings } = await run([...label]);
  expect({ stdout, warnings }).toEqual({ stdout: `${name} (enforce)\n`, warnings: [] });
  expect(listAppArmorProfiles()).toContainEqual({ name, mode: 'enforce' });
});

appArmor('and what is run in a container later, and in one with a user namespace', async () => {
  await using container = await Container.create({ command: ['sleep', 'infinity'], idMap: 'auto' });
  await container.start();
  expect((await container.exec(...splitLabel())).stdout).toBe(`${name} (enforce)\n`);
  expect(String(container.explain())).toContain(name);
  // The profile lets whoever started it signal it.
  await container.stop({ timeout: 60_000 });
  expect((await container.wait()).signal).toBe('SIGTERM');
});

appArmor('it refuses what Docker refuses, with every capability there is', async () => {
  const attempts = [
    'mount -t tmpfs none /mnt && echo mounted',
    'echo 10 > /proc/sys/vm/swappiness && echo wrote a setting',
    'echo x > /sys/kernel/uevent_helper && echo wrote a helper',
    'head -c 1 /proc/kcore && echo read memory',
    'kill -0 $$ && echo signalled itself',
  ];
  const options = { capabilities: ['ALL'], seccomp: 'unconfined', maskedPaths: [], readonlyPaths: [] } as const;
  const { stdout } = await run('sh', ['-c', `exec 2>&-; ${attempts.join('; ')}`], options);
  expect(stdout).toBe('signalled itself\n');
});

appArmor('sockets of families that lead out of the container are refused', async () => {
  const program =
    'import socket\nfor family in (38, 40):\n  try: socket.socket(family, 5 if family == 38 else 1)\n  except OSError as e: print(e.errno)';
  const { stdout } = await run('python3', ['-c', program], { seccomp: 'unconfined' });
  expect(stdout).toBe('13\n13\n');
});

appArmor('it can be switched off, and is off for privileged containers', async () => {
  for (const options of [{ apparmor: 'unconfined' }, { privileged: true }]) {
    const { stdout, warnings } = await run([...label], options);
    expect(stdout).toBe('unconfined\n');
    expect(warnings.filter(({ code }) => code === 'NS_APPARMOR_NOT_APPLIED')).toEqual([]);
  }
});

appArmor('a profile that somebody removed is back', async () => {
  await run('true');
  removeAppArmorProfile(name);
  // What is known to be loaded is believed for a second.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  expect((await run([...label])).stdout).toBe(`${name} (enforce)\n`);
});

appArmor('many at once load it once', async () => {
  const labels = await Promise.all(Array.from({ length: 8 }, async () => (await run([...label])).stdout));
  expect(new Set(labels)).toEqual(new Set([`${name} (enforce)\n`]));
});

appArmor('one that does not exist is refused when it was asked for by name', async () => {
  await expect(run('true', [], { apparmor: 'no-such-profile' })).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_START',
    errnoCode: 'ENOENT',
  });
});

function splitLabel(): [string, string[]] {
  const [command, ...args] = label;
  return [command, args];
}
