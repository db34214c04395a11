import * as libc from '@ns/libc';
import { type Operand, Slot, type TracedCall } from './program.ts';

type Kind = 'number' | 'octal' | 'fd' | 'text' | 'pointer' | Readonly<Record<string, number>>;

const prefixed = (prefix: string, flags: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(flags).map(([name, value]) => [`${prefix}${name}`, value]));

const open = prefixed('O_', libc.O);
const at = {
  AT_SYMLINK_NOFOLLOW: libc.AT_SYMLINK_NOFOLLOW,
  AT_EMPTY_PATH: libc.AT_EMPTY_PATH,
  AT_RECURSIVE: libc.AT_RECURSIVE,
};
const tree = {
  OPEN_TREE_CLONE: 1,
  OPEN_TREE_CLOEXEC: libc.OPEN_TREE_CLOEXEC,
  AT_EMPTY_PATH: libc.AT_EMPTY_PATH,
  AT_RECURSIVE: libc.AT_RECURSIVE,
};
const fileType = prefixed('S_', libc.S);

/** What the arguments of a call are, in its man page's order. A call that is missing prints numbers. */
const signatures: Readonly<Record<string, readonly Kind[]>> = {
  chdir: ['text'],
  clone3: ['pointer', 'number'],
  close_range: ['fd', 'number', { CLOSE_RANGE_CLOEXEC: 4 }],
  execve: ['text', 'pointer', 'pointer'],
  faccessat: ['fd', 'text', 'number'],
  fchmod: ['fd', 'octal'],
  fchmodat: ['fd', 'text', 'octal'],
  fchown: ['fd', 'number', 'number'],
  fchownat: ['fd', 'text', 'number', 'number', at],
  fsconfig: ['fd', prefixed('FSCONFIG_', libc.FSCONFIG), 'text', 'text', 'number'],
  fsmount: ['fd', { FSMOUNT_CLOEXEC: 1 }, prefixed('MOUNT_ATTR_', libc.MOUNT_ATTR)],
  fsopen: ['text', { FSOPEN_CLOEXEC: 1 }],
  keyctl: [{ KEYCTL_JOIN_SESSION_KEYRING: 1, KEYCTL_SETPERM: 5 }, 'text', 'number'],
  mkdirat: ['fd', 'text', 'octal'],
  mknodat: ['fd', 'text', 'octal', 'number'],
  mount: ['text', 'text', 'text', prefixed('MS_', libc.MS), 'pointer'],
  mount_setattr: ['fd', 'text', at, 'pointer', 'number'],
  move_mount: ['fd', 'text', 'fd', 'text', prefixed('MOVE_MOUNT_', libc.MOVE_MOUNT)],
  open_tree: ['fd', 'text', tree],
  openat: ['fd', 'text', open, 'octal'],
  openat2: ['fd', 'text', 'pointer', 'number'],
  pivot_root: ['text', 'text'],
  prctl: [
    Object.fromEntries(Object.entries(libc.PR).map(([name, value]) => [`PR_${name}`, value])),
    'number',
    'number',
    'number',
    'number',
  ],
  sethostname: ['text', 'number'],
  setdomainname: ['text', 'number'],
  setns: ['fd', prefixed('CLONE_', libc.CLONE)],
  setxattr: ['text', 'text', 'text', 'number', 'number'],
  symlinkat: ['text', 'fd', 'text'],
  umount2: ['text', { MNT_FORCE: 1, MNT_DETACH: 2, MNT_EXPIRE: 4, UMOUNT_NOFOLLOW: 8 }],
  umask: ['octal'],
  unshare: [prefixed('CLONE_', libc.CLONE)],
  write: ['fd', 'text', 'number'],
};

/** Options of prctl, commands of fsconfig and keyctl are values, not bits. */
const enumerations = new Set(['prctl', 'fsconfig', 'keyctl']);

/** A call as strace prints it; the value a variable will have is shown as `$<address>`. */
export function formatCall({ name, operands, options }: TracedCall, strings: ReadonlyMap<number, string>): string {
  const kinds = signatures[name] ?? [];
  const values = operands.map((operand, i) =>
    formatOperand(operand, kinds[i] ?? 'number', strings, enumerations.has(name)),
  );
  const stored = options.store ? ` -> ${slotName(options.store)}` : '';
  const tolerated = options.tolerate
    ? ` (may fail: ${options.tolerate === 'any' ? 'any error' : options.tolerate.join(', ')})`
    : '';
  return `${name}(${values.join(', ')})${stored}${tolerated}`;
}

function formatOperand(
  operand: Operand,
  kind: Kind,
  strings: ReadonlyMap<number, string>,
  enumeration: boolean,
): string {
  if (operand instanceof Slot) return slotName(operand);
  const value = Number(operand);
  if (kind === 'text' || kind === 'pointer') {
    const text = strings.get(value);
    return text !== undefined ? JSON.stringify(text) : value === 0 ? 'NULL' : `0x${value.toString(16)}`;
  }
  if (kind === 'fd') return value === libc.AT_FDCWD ? 'AT_FDCWD' : String(value);
  if (kind === 'octal')
    return value > 0o7777
      ? `${formatFlags(value & 0o170000, fileType, true)}|0${(value & 0o7777).toString(8)}`
      : `0${value.toString(8)}`;
  if (kind === 'number') return String(value);
  return formatFlags(value, kind, enumeration);
}

/** Flags by name; bits without a name as hex. */
function formatFlags(value: number, names: Readonly<Record<string, number>>, enumeration: boolean): string {
  const exact = Object.entries(names).find(([, bits]) => bits === value);
  if (exact) return exact[0];
  if (enumeration || value === 0) return String(value);
  let rest = BigInt(value);
  const known = Object.entries(names).filter(([, bits]) => {
    const mask = BigInt(bits);
    const isSet = mask !== 0n && (rest & mask) === mask;
    if (isSet) rest &= ~mask;
    return isSet;
  });
  return [...known.map(([name]) => name), ...(rest === 0n ? [] : [`0x${rest.toString(16)}`])].join('|');
}

function slotName(slot: Slot): string {
  return `$${(slot.address & 0xfffffff).toString(16)}`;
}
