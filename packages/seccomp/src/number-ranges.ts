import { SECCOMP_RET } from './actions.ts';
import { architectures, X32_SYSCALL_BIT } from './architectures.ts';
import { compileRules } from './argument-checks.ts';
import type { Assembler } from './assembler.ts';
import type { ResolvedProfile } from './compile.ts';
import { isNewer, type RuleTable } from './rule-table.ts';
import { Ranges } from './search.ts';
import { syscallTable } from './syscall-table.ts';

/** The space of numbers the kernel shows for one architecture, cut where the verdict changes. */
export function numberRanges(assembler: Assembler, tables: readonly RuleTable[], resolved: ResolvedProfile): Ranges {
  const ranges = new Ranges();
  const table = (arch: string) => tables.find((candidate) => candidate.arch === arch);
  const x86_64 = table('x86_64');
  const x32 = table('x32');
  if (!x86_64 && !x32) {
    addTable(ranges, assembler, tables[0]!, resolved, COMMON);
    return ranges;
  }

  const refused = assembler.ret(SECCOMP_RET.KILL_PROCESS);
  if (x86_64) addTable(ranges, assembler, x86_64, resolved, COMMON);
  else ranges.from(0, refused, RARE);
  if (x32) {
    addTable(ranges, assembler, x32, resolved, RARE);
  } else {
    ranges.from(X32_SYSCALL_BIT, refused, RARE);
    // -1 is what a tracer writes to skip a call, not a call of x32.
    ranges.from(0xffffffff, assembler.ret(resolved.valid.defaultResult), RARE);
  }
  return ranges;
}

const COMMON = 1;
const RARE = 1 / 64;
const HOT = 8;

function addTable(
  ranges: Ranges,
  assembler: Assembler,
  table: RuleTable,
  { valid, newerResult }: ResolvedProfile,
  weight: number,
): void {
  const { numbers: numberOf } = syscallTable(table.arch);
  const hot = new Set(hotSyscalls.map((name) => numberOf.get(name)));
  const abi = architectures[table.arch];
  const otherwise = assembler.ret(valid.defaultResult);
  ranges.from(table.arch === 'x32' ? X32_SYSCALL_BIT : 0, otherwise, weight);
  if (newerResult !== undefined && isNewer(table, 0)) {
    ranges.from(0, assembler.ret(newerResult), weight);
    ranges.from(1, otherwise, weight);
  }
  for (const number of [...table.bySyscall.keys()].sort((a, b) => a - b)) {
    const rules = table.bySyscall.get(number)!;
    const label = rules.always
      ? assembler.ret(rules.always.result)
      : compileRules(assembler, abi, rules.tried, otherwise);
    ranges.from(number, label, hot.has(number) ? weight * HOT : weight);
    ranges.from(number + 1, otherwise, weight);
  }
  if (newerResult === undefined || table.highest < 0) return;
  ranges.from(table.highest + 1, assembler.ret(newerResult), weight);
}

/**
 * Calls a busy program makes most. Since 5.11 the kernel remembers which numbers are allowed whatever their arguments and
 * skips the filter for them; before that, and under actions other than ALLOW, every call runs it.
 */
const hotSyscalls: readonly string[] = [
  'read write readv writev pread64 pwrite64 close lseek fcntl fstat newfstatat openat',
  'epoll_wait epoll_pwait poll ppoll recvfrom sendto recvmsg sendmsg',
  'futex mmap munmap madvise rt_sigprocmask sched_yield getpid gettid',
  'clock_gettime gettimeofday nanosleep clock_nanosleep',
].flatMap((names) => names.split(' '));
