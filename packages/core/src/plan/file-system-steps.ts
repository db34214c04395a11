import type { Step } from '@ns/launch';
import { deviceLinks, deviceNodes } from '../defaults.ts';
import { cgroupSteps } from './cgroup-steps.ts';
import type { ContainerDesign } from './container-plan.ts';
import { sharedMemoryStep } from './shared-memory-step.ts';

const CAP_SYS_ADMIN = 1n << 21n;

/** Directories on the way to something below /dev, outermost first. */
function parentsOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** proc, sys, dev and what is below it. */
export function fileSystemSteps(design: ContainerDesign): Step[] {
  // One that was named, in the place of one that everybody has, is it.
  const named = new Set(design.devices.map(({ name }) => name));
  const devices = [...deviceNodes.filter(({ name }) => !named.has(name)), ...design.devices];
  const userNamespace = design.namespaces.idMaps !== undefined;
  const secure = ['nosuid', 'nodev', 'noexec'] as const;
  return [
    { op: 'mount', type: 'proc', target: '/proc', options: {}, attributes: secure, plain: true, handle: 'proc' },
    // sysfs shows the network namespace it was mounted in; without one of our own it may be refused.
    {
      op: 'mount',
      type: 'sysfs',
      target: '/sys',
      options: {},
      attributes: design.sysReadonly ? ['ro', ...secure] : secure,
      plain: true,
      optional: userNamespace ? ['EPERM'] : [],
    },
    ...(design.visibleCgroup ? cgroupSteps(design.visibleCgroup) : []),
    {
      op: 'mountDev',
      options: { mode: '755', size: '65536k' },
      nodes: devices,
      links: deviceLinks,
      directories: [...new Set(['pts', 'shm', 'mqueue', ...devices.flatMap(({ name }) => parentsOf(name))])],
      ...(design.terminal?.console && { files: ['console'] }),
      bindNodes: userNamespace,
      // CAP_MKNOD is one of Docker's fourteen. With CAP_SYS_ADMIN it could mount a /dev of its own.
      sealed: (design.capabilities & CAP_SYS_ADMIN) === 0n,
    },
    {
      op: 'mount',
      type: 'devpts',
      target: '/dev/pts',
      options: { ptmxmode: '0666', mode: '0620', ...(userNamespace ? {} : { gid: '5' }) },
      attributes: ['nosuid', 'noexec'],
      plain: true,
      made: true,
    },
    sharedMemoryStep(design),
    // ENODEV: a kernel without POSIX message queues.
    {
      op: 'mount',
      type: 'mqueue',
      target: '/dev/mqueue',
      options: {},
      attributes: secure,
      plain: true,
      made: true,
      optional: ['ENODEV', 'EPERM'],
    },
  ];
}
