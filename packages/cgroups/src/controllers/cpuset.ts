import { SpecError } from '@ns/libc';
import { absent, type Change, type Driver, type Parsed, parseFields, write } from '../change.ts';

/** Limits of the cpuset controller. */
export interface CpusetLimits {
  /** Cpus as the kernel lists them, `'0-2,4'`. */
  cpus?: string;
  /** Memory nodes, `'0'`. */
  mems?: string;
  /** v2 only: `'root'` and `'isolated'` take the cpus away from everybody else. */
  partition?: 'member' | 'root' | 'isolated';
}

function parseList(value: unknown, field: string): string {
  const expected = "a list such as '0-2,4'";
  if (typeof value !== 'string' || !/^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*$/.test(value)) {
    throw new SpecError(field, expected, value);
  }
  for (const range of value.split(',')) {
    const [from = 0, to = from] = range.split('-').map(Number);
    if (to < from) throw new SpecError(field, expected, value, `${range} ends before it begins`);
  }
  return value;
}

const partitions = ['member', 'root', 'isolated'];

function parsePartition(value: unknown, field: string): string {
  if (typeof value === 'string' && partitions.includes(value)) return value;
  throw new SpecError(field, `one of ${partitions.join(', ')}`, value);
}

const fields = { cpus: parseList, mems: parseList, partition: parsePartition };

export const cpuset: Driver<CpusetLimits, Parsed<typeof fields>> = {
  parse: (wanted, field) => parseFields(fields, wanted, field),

  v2({ cpus, mems, partition }) {
    const changes: Change[] = lists(cpus, mems);
    // A partition needs cpus of its own, so it comes last.
    if (partition !== undefined) {
      changes.push(
        write('cpuset.partition', 'cpuset.cpus.partition', partition, { why: 'cpuset partitions are since Linux 5.0' }),
      );
    }
    return changes;
  },

  v1({ cpus, mems, partition }) {
    const changes: Change[] = lists(cpus, mems).map((list) => ({ ...list, handDown: true }));
    if (partition !== undefined)
      changes.push(absent('cpuset.partition', 'the cpuset controller of cgroup v1 has no partitions'));
    return changes;
  },
};

function lists(cpus: string | undefined, mems: string | undefined) {
  return [
    ...(cpus === undefined ? [] : [write('cpuset.cpus', 'cpuset.cpus', cpus)]),
    ...(mems === undefined ? [] : [write('cpuset.mems', 'cpuset.mems', mems)]),
  ];
}
