/** What <linux/landlock.h> knows of a right: its bit, and the Landlock ABI that brought it. */
interface Right {
  readonly bit: number;
  readonly abi: number;
  /** It also makes sense for a single file; the others are about what a directory contains. */
  readonly file?: true;
}

/** LANDLOCK_ACCESS_FS_*, in the kernel's order. */
export const fileRights = {
  execute: { bit: 0, abi: 1, file: true },
  write_file: { bit: 1, abi: 1, file: true },
  read_file: { bit: 2, abi: 1, file: true },
  read_dir: { bit: 3, abi: 1 },
  remove_dir: { bit: 4, abi: 1 },
  remove_file: { bit: 5, abi: 1 },
  make_char: { bit: 6, abi: 1 },
  make_dir: { bit: 7, abi: 1 },
  make_reg: { bit: 8, abi: 1 },
  make_sock: { bit: 9, abi: 1 },
  make_fifo: { bit: 10, abi: 1 },
  make_block: { bit: 11, abi: 1 },
  make_sym: { bit: 12, abi: 1 },
  refer: { bit: 13, abi: 2 },
  truncate: { bit: 14, abi: 3, file: true },
  ioctl_dev: { bit: 15, abi: 5, file: true },
} as const satisfies Record<string, Right>;

/** A right to files, as the kernel names it: `read_file` is LANDLOCK_ACCESS_FS_READ_FILE. */
export type LandlockFileRight = keyof typeof fileRights;

/** LANDLOCK_ACCESS_NET_* */
export const networkRights = {
  bind_tcp: { bit: 0, abi: 4 },
  connect_tcp: { bit: 1, abi: 4 },
} as const satisfies Record<string, Right>;

/** LANDLOCK_SCOPE_* */
export const scopes = {
  abstract_unix_socket: { bit: 0, abi: 6 },
  signal: { bit: 1, abi: 6 },
} as const satisfies Record<string, Right>;

/** A kind of access to processes outside the sandbox: `signal` is LANDLOCK_SCOPE_SIGNAL. */
export type LandlockScope = keyof typeof scopes;

/** LANDLOCK_RESTRICT_SELF_LOG_*, with the value of the option that sets the flag. */
export const loggingFlags = {
  sameExec: { bit: 0, abi: 7, setBy: false },
  newExec: { bit: 1, abi: 7, setBy: true },
  subdomains: { bit: 2, abi: 7, setBy: false },
} as const satisfies Record<string, Right & { setBy: boolean }>;

/** The kernel that brought each ABI, from 1. */
export const kernelOfAbi: readonly string[] = ['', '5.13', '5.19', '6.2', '6.7', '6.10', '6.12', '6.15'];

/** What each list of paths allows. */
export const fileRightsOf = {
  readOnly: ['read_file', 'read_dir'],
  // A program's interpreter and libraries are read, not only executed.
  execute: ['execute', 'read_file', 'read_dir'],
  // Not make_char and make_block: a device node is a way around every other rule.
  readWrite: [
    'read_file',
    'read_dir',
    'write_file',
    'truncate',
    'remove_dir',
    'remove_file',
    'make_dir',
    'make_reg',
    'make_sock',
    'make_fifo',
    'make_sym',
    'refer',
  ],
  devices: ['read_file', 'write_file', 'ioctl_dev'],
} as const satisfies Record<string, readonly LandlockFileRight[]>;

/** The bits of named rights. */
export function rightBits<Name extends string>(table: Readonly<Record<Name, Right>>, names: readonly Name[]): number {
  return names.reduce((bits, name) => bits | (1 << table[name].bit), 0);
}

/** Names of the rights in `table` that a kernel with this ABI knows, and of those it does not. */
export function rightsAt<Name extends string>(
  table: Readonly<Record<Name, Right>>,
  abi: number,
): { known: Name[]; unknown: Name[] } {
  const names = Object.keys(table) as Name[];
  return {
    known: names.filter((name) => table[name].abi <= abi),
    unknown: names.filter((name) => table[name].abi > abi),
  };
}

/** The rights that make sense for a file that is no directory; the kernel refuses the others for it (EINVAL). */
export const rightsOfFiles: number = rightBits(
  fileRights,
  (Object.keys(fileRights) as LandlockFileRight[]).filter((name) => 'file' in fileRights[name]),
);
