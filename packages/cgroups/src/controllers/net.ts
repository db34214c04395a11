import { SpecError } from '@ns/libc';
import { absent, type Driver, integer, write } from '../change.ts';

const useBpf = 'cgroup v2 has no net_cls and net_prio';
const instead = 'Match the cgroup itself: nft "socket cgroupv2", or tc with a filter in the network namespace';

/** Tag on the packets of a cgroup for tc(8) and iptables, `0xAAAABBBB` for the class AAAA:BBBB. v1 only. */
export interface NetClsLimits {
  classid: number;
}

export const netCls: Driver<NetClsLimits, number> = {
  parse: (wanted, field) => integer(0, 0xffff_ffff)(wanted?.classid, `${field}.classid`),
  v2: () => [absent('netCls', useBpf, instead)],
  v1: (classid) => [write('netCls.classid', 'net_cls.classid', classid)],
};

/** Priority of outgoing packets by interface name. v1 only. */
export type NetPrioLimits = Readonly<Record<string, number>>;

type Priorities = readonly (readonly [name: string, priority: number])[];

export const netPrio: Driver<NetPrioLimits, Priorities> = {
  parse(wanted, field) {
    if (typeof wanted !== 'object' || wanted === null)
      throw new SpecError(field, 'an object of priorities by interface', wanted);
    return Object.entries(wanted).map(([name, priority]) => {
      if (!/^[^\s/]{1,15}$/.test(name)) throw new SpecError(field, "interface names such as 'eth0'", name);
      return [name, integer(0, 0xffff_ffff)(priority, `${field}.${name}`)];
    });
  },
  v2: () => [absent('netPrio', useBpf, instead)],
  v1: (priorities) =>
    priorities.map(([name, priority]) => write(`netPrio.${name}`, 'net_prio.ifpriomap', `${name} ${priority}`)),
};
