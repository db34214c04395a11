import { onlyKnownKeys, SpecError } from '@ns/libc';
import { absent, type Change, type Driver, type ReadFile, write } from './change.ts';
import { type CpuLimits, cpu } from './controllers/cpu.ts';
import { type CpusetLimits, cpuset } from './controllers/cpuset.ts';
import { type HugetlbLimits, hugetlb } from './controllers/hugetlb.ts';
import { type IoLimits, io } from './controllers/io.ts';
import { type MemoryLimits, memory } from './controllers/memory.ts';
import { type MiscLimits, misc } from './controllers/misc.ts';
import { type NetClsLimits, type NetPrioLimits, netCls, netPrio } from './controllers/net.ts';
import { type PidsLimits, pids } from './controllers/pids.ts';
import { type RdmaLimits, rdma } from './controllers/rdma.ts';
import { type DeviceRule, type FullDeviceRule, parseDeviceRules } from './device-policy.ts';
import type { Controller } from './host.ts';

/** What a cgroup may use, in cgroup v2's words whatever the host has. Every limit can be changed while processes run. */
export interface Limits {
  memory?: MemoryLimits;
  cpu?: CpuLimits;
  cpuset?: CpusetLimits;
  pids?: PidsLimits;
  io?: IoLimits;
  hugetlb?: HugetlbLimits;
  rdma?: RdmaLimits;
  misc?: MiscLimits;
  netCls?: NetClsLimits;
  netPrio?: NetPrioLimits;
  /** Which device nodes may be used. v1: the devices controller; v2: an eBPF program. */
  devices?: readonly DeviceRule[];
  /** Files of cgroup v2 with the text to be written, for what has no field here: `{ 'memory.zswap.writeback': '0' }`. */
  unified?: Readonly<Record<string, string>>;
}

/** One part of {@link Limits}, checked, not yet bound to a tree. */
export interface RequestedLimit {
  readonly field: string;
  readonly controller: Controller;
  changes(version: 1 | 2, read: ReadFile): readonly Change[];
}

/** {@link Limits}, checked. */
export interface RequestedLimits {
  readonly controllers: readonly RequestedLimit[];
  readonly devices: readonly FullDeviceRule[] | undefined;
}

function bind<Wanted, Normal>(
  controller: Controller,
  driver: Driver<Wanted, Normal>,
): (wanted: unknown, field: string) => RequestedLimit {
  return (wanted, field) => {
    const normal = driver.parse(wanted as Wanted, field);
    return {
      field,
      controller,
      changes: (version, read) => (version === 2 ? driver.v2(normal, read) : driver.v1(normal, read)),
    };
  };
}

/** In the order they are written: what protects the host first. */
const drivers = {
  pids: bind('pids', pids),
  memory: bind('memory', memory),
  cpu: bind('cpu', cpu),
  cpuset: bind('cpuset', cpuset),
  io: bind('io', io),
  hugetlb: bind('hugetlb', hugetlb),
  rdma: bind('rdma', rdma),
  misc: bind('misc', misc),
  netCls: bind('net_cls', netCls),
  netPrio: bind('net_prio', netPrio),
};

const keys = [...Object.keys(drivers), 'devices', 'unified'];

/**
 * Checks limits, before anything is made.
 *
 * @throws SpecError for unknown keys and values the kernel cannot take
 */
export function parseLimits(limits: Limits, field = 'limits'): RequestedLimits {
  onlyKnownKeys(limits, keys, field);
  const controllers: RequestedLimit[] = [];
  for (const [key, parse] of Object.entries(drivers)) {
    const wanted = (limits as Record<string, unknown>)[key];
    if (wanted !== undefined) controllers.push(parse(wanted, `${field}.${key}`));
  }
  if (limits.unified !== undefined) controllers.push(...parseUnified(limits.unified, `${field}.unified`));
  return {
    controllers,
    devices: limits.devices === undefined ? undefined : parseDeviceRules(limits.devices, `${field}.devices`),
  };
}

const controllerOfPrefix: Readonly<Record<string, Controller>> = {
  cpu: 'cpu',
  cpuset: 'cpuset',
  memory: 'memory',
  io: 'io',
  pids: 'pids',
  hugetlb: 'hugetlb',
  rdma: 'rdma',
  misc: 'misc',
};

// Not cgroup.*: a raw write to cgroup.procs, cgroup.kill or cgroup.subtree_control is not a limit.
const rawFile = /^([a-z]+)\.[\w.]+$/;

function parseUnified(unified: unknown, field: string): RequestedLimit[] {
  if (typeof unified !== 'object' || unified === null)
    throw new SpecError(field, 'an object of texts by file', unified);
  return Object.entries(unified).map(([file, value]): RequestedLimit => {
    const prefix = rawFile.exec(file)?.[1];
    const controller = prefix === undefined ? undefined : controllerOfPrefix[prefix];
    const key = `${field}.${file}`;
    const name = `unified.${file}`;
    if (controller === undefined)
      throw new SpecError(key, `a file of a controller (${Object.keys(controllerOfPrefix).join(', ')})`, file);
    if (typeof value !== 'string' || value.includes('\0')) throw new SpecError(key, 'text to be written', value);
    return {
      field: key,
      controller,
      changes: (version) => [
        version === 2
          ? write(name, file, value)
          : absent(
              name,
              `${file} is a file of cgroup v2, and the ${controller} controller of this machine is on v1`,
              'Use the named fields, which work on both',
            ),
      ],
    };
  });
}
