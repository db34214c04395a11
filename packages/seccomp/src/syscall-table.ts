import { architectures, parseArch, type SeccompArch } from './architectures.ts';
import { tables, tablesVersion } from './generated/syscall-tables.ts';

/** The kernel version the tables of system call numbers were taken from. */
export const syscallTablesVersion: string = tablesVersion;

/** The numbers of an ABI, as they appear in `seccomp_data.nr` (x32's with bit 30, mips' with their base). */
class SyscallTable {
  readonly numbers: ReadonlyMap<string, number>;
  #names: Map<number, string> | undefined;

  constructor(arch: SeccompArch) {
    const { table, offset } = architectures[arch];
    const numbers = new Map<string, number>();
    let next = offset;
    for (const word of tables[table].replaceAll('\n', ' ').trim().split(' ')) {
      const first = word.charCodeAt(0);
      if (first >= ZERO && first <= NINE) next = Number(word) + offset;
      else numbers.set(word, next++);
    }
    this.numbers = numbers;
  }

  /** Made at first use: compiling a profile needs the numbers only. */
  get names(): ReadonlyMap<number, string> {
    this.#names ??= new Map([...this.numbers].map(([name, number]) => [number, name]));
    return this.#names;
  }
}

const ZERO = 0x30;
const NINE = 0x39;

const decoded = new Map<SeccompArch, SyscallTable>();

/** The table of an ABI, decoded at first use. */
export function syscallTable(arch: SeccompArch): SyscallTable {
  const known = decoded.get(arch);
  if (known) return known;
  const table = new SyscallTable(arch);
  decoded.set(arch, table);
  return table;
}

/**
 * Names of all system calls of an ABI, in the order of their numbers.
 *
 * @throws SpecError for an ABI that is none
 *
 * @example
 * ```ts
 * syscallNames('x86_64')[0]; // 'read'
 * ```
 */
export function syscallNames(arch: SeccompArch): string[] {
  return [...syscallTable(parseArch(arch, 'arch')).names.values()];
}

// net/socket.c and ipc/syscall.c: the first argument of the multiplexer that means the call.
const SOCKETCALL =
  'socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg'
    .split(' ')
    .map((name, index) => [name, { multiplexer: 'socketcall', call: index + 1 }] as const);
const IPC = (
  [
    ['semop', 1],
    ['semget', 2],
    ['semctl', 3],
    ['semtimedop', 4],
    ['msgsnd', 11],
    ['msgrcv', 12],
    ['msgget', 13],
    ['msgctl', 14],
    ['shmat', 21],
    ['shmdt', 22],
    ['shmget', 23],
    ['shmctl', 24],
  ] as const
).map(([name, call]) => [name, { multiplexer: 'ipc', call }] as const);

/** Calls that old 32-bit programs make through `socketcall(2)` or `ipc(2)`. */
export const multiplexed: ReadonlyMap<string, { readonly multiplexer: 'socketcall' | 'ipc'; readonly call: number }> =
  new Map<string, { multiplexer: 'socketcall' | 'ipc'; call: number }>([...SOCKETCALL, ...IPC]);
