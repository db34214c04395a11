import { spawnSync } from 'node:child_process';
import { Cgroup, type CgroupHost, type DeviceRule, defaultDeviceRules, detectCgroups } from '@ns/cgroups';
import { UnavailableError } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';

const machine = detectCgroups();

/** The same machine without the v1 devices controller, so that the eBPF program in the v2 tree is used. */
const withoutController: CgroupHost = {
  ...machine,
  controllers: new Map([...machine.controllers].filter(([name]) => name !== 'devices')),
  hierarchies: machine.hierarchies.filter((hierarchy) => !hierarchy.controllers.has('devices')),
};

const ways: readonly { title: string; host: CgroupHost; missing: string | undefined }[] = [
  {
    title: 'the v1 controller',
    host: machine,
    missing: notRoot ?? (machine.controllers.has('devices') ? undefined : 'no v1 devices controller'),
  },
  {
    title: 'an eBPF program',
    host: withoutController,
    missing: notRoot ?? (machine.unified ? await whyNoBpf() : 'no cgroup v2 tree'),
  },
];

async function whyNoBpf(): Promise<string | undefined> {
  if (notRoot) return notRoot;
  try {
    await using _ = await Cgroup.create(`probe-${process.pid}`, { devices: [] }, { host: withoutController });
    return undefined;
  } catch (error) {
    if (error instanceof UnavailableError) return `device eBPF: ${error.message}`;
    throw error;
  }
}

/** Whether a process of the cgroup may read from or write to a node. */
function attempt(cg: Cgroup, script: string): boolean {
  const join = cg.paths.map((path) => `echo 0 > ${path}/cgroup.procs`).join(' && ');
  return spawnSync('sh', ['-c', `${join} && exec 2>&- && ${script}`]).status === 0;
}

const readZero = 'head -c1 /dev/zero >/dev/null';
const readRandom = 'head -c1 /dev/urandom >/dev/null';
const null13: DeviceRule = { allow: true, type: 'c', major: 1, minor: 3 };

for (const { title, host, missing } of ways) {
  needs(missing)(`${title} allows and refuses devices`, async () => {
    await using cg = await Cgroup.create(
      `devices-${process.pid}`,
      { devices: [null13, { allow: true, type: 'c', major: 1, minor: 5, access: 'r' }] },
      { host },
    );
    expect(attempt(cg, 'echo x > /dev/null')).toBe(true);
    expect(attempt(cg, readZero)).toBe(true);
    expect(attempt(cg, 'echo x > /dev/zero')).toBe(false);
    expect(attempt(cg, readRandom)).toBe(false);
  });

  needs(missing)(`${title} changes while the cgroup lives`, async () => {
    await using cg = await Cgroup.create(`devices-${process.pid}`, { devices: [null13] }, { host });
    expect(attempt(cg, readZero)).toBe(false);
    await cg.update({ devices: [null13, { allow: true, type: 'c', major: 1, minor: 5 }] });
    expect(attempt(cg, readZero)).toBe(true);
    await cg.update({ devices: defaultDeviceRules });
    expect(attempt(cg, readRandom)).toBe(true);
    await cg.update({ devices: [null13] });
    expect(attempt(cg, readRandom)).toBe(false);
    await cg.update({ devices: [{ allow: true }] });
    expect(attempt(cg, readRandom)).toBe(true);
  });

  needs(missing)(`${title} denies making nodes that are not allowed`, async () => {
    await using cg = await Cgroup.create(`devices-${process.pid}`, { devices: [null13] }, { host });
    const node = `/tmp/ns-node-${process.pid}`;
    expect(attempt(cg, `mknod ${node} c 1 3 && rm ${node}`)).toBe(true);
    expect(attempt(cg, `mknod ${node} c 1 5`)).toBe(false);
  });
}
