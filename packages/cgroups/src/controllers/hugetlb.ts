import { SpecError } from '@ns/libc';
import { type Change, type Driver, orMax, orMinusOne, write } from '../change.ts';
import { parseSize, type Size } from '../size.ts';

/** Bytes in huge pages by page size as the kernel spells it, `{ '2MB': '64MiB' }`. */
export type HugetlbLimits = Readonly<Record<string, Size>>;

type Parsed = readonly (readonly [pageSize: string, bytes: number])[];

const noPageSize = (pageSize: string) => ({
  why: `this kernel has no huge pages of ${pageSize}`,
  fix: 'See /sys/kernel/mm/hugepages',
});

export const hugetlb: Driver<HugetlbLimits, Parsed> = {
  parse(wanted, field) {
    if (typeof wanted !== 'object' || wanted === null)
      throw new SpecError(field, 'an object of sizes by page size', wanted);
    return Object.entries(wanted).map(([pageSize, size]) => {
      if (!/^[1-9]\d{0,3}[KMG]B$/.test(pageSize))
        throw new SpecError(`${field}.${pageSize}`, "a page size such as '2MB'", pageSize);
      return [pageSize, parseSize(size, `${field}.${pageSize}`)];
    });
  },
  v2: (limits) => limits.flatMap(([size, bytes]) => changes(size, ['max', 'rsvd.max'], orMax(bytes))),
  v1: (limits) =>
    limits.flatMap(([size, bytes]) => changes(size, ['limit_in_bytes', 'rsvd.limit_in_bytes'], orMinusOne(bytes))),
};

// Beside pages in use, reservations are limited too (since 5.7): a process that reserved more than the limit would get
// SIGBUS at its first touch instead of an error from mmap(2).
function changes(pageSize: string, [used, reserved]: readonly [string, string], value: string): readonly Change[] {
  const field = `hugetlb.${pageSize}`;
  return [
    write(field, `hugetlb.${pageSize}.${used}`, value, noPageSize(pageSize)),
    write(field, `hugetlb.${pageSize}.${reserved}`, value, noPageSize(pageSize)),
  ];
}
