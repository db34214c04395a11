import {
  addressOf,
  allocate,
  check,
  cString,
  ERRNO,
  errnoName,
  OwnedFd,
  SYS,
  SyscallError,
  syscall,
  UnavailableError,
} from '@ns/libc';

/** <linux/bpf.h> */
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15; // since 4.15
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;

/** Size of the part of union bpf_attr used here; the kernel takes the rest as zero. */
const attributeSize = 72;

function bpf(command: number, fill: (bytes: Buffer) => void): number {
  const attributes = allocate(attributeSize);
  fill(attributes.bytes);
  return syscall(SYS.bpf, command, attributes.address, attributeSize);
}

/**
 * Loads an eBPF program that decides about device nodes. bpf(2); needs CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before
 * 5.8) in the initial user namespace, and CONFIG_CGROUP_BPF.
 *
 * @throws UnavailableError without the privilege or the kernel option
 */
export function loadDeviceProgram(program: Buffer): OwnedFd {
  // No helper function is called, so the licence does not matter to the verifier.
  const license = cString('MIT');
  const result = bpf(BPF_PROG_LOAD, (bytes) => {
    bytes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
    bytes.writeUInt32LE(program.length / 8, 4);
    bytes.writeBigUInt64LE(BigInt(addressOf(program)), 8);
    bytes.writeBigUInt64LE(BigInt(license.address), 16);
    bytes.write('ns_device', 48, 'latin1');
  });
  if (result === -ERRNO.EPERM || result === -ERRNO.ENOSYS || result === -ERRNO.EINVAL) {
    throw new UnavailableError(
      'cgroup device policy',
      `bpf(BPF_PROG_LOAD) fails with ${errnoName(result)}`,
      loadFixes[result] ?? 'It needs CAP_BPF or CAP_SYS_ADMIN in the initial user namespace, and CONFIG_CGROUP_BPF',
    );
  }
  return new OwnedFd(check('bpf', result, { doing: 'load the device program' }));
}

const loadFixes: Readonly<Record<number, string>> = {
  [-ERRNO.EPERM]:
    'Needs CAP_BPF and CAP_NET_ADMIN in the initial user namespace; rootless containers have no device nodes but those bound from the host',
  [-ERRNO.ENOSYS]: 'Needs CONFIG_BPF_SYSCALL',
  [-ERRNO.EINVAL]: 'Needs CONFIG_CGROUP_BPF and Linux 4.15',
};

/** Attaches a program to a cgroup v2 directory, beside those that are there: all of them must allow. */
export function attachDeviceProgram(cgroupFd: number, program: OwnedFd): void {
  const result = changeAttachment(BPF_PROG_ATTACH, cgroupFd, program);
  // What is missing without CONFIG_CGROUP_BPF shows here at the earliest.
  if (result === -ERRNO.EINVAL)
    throw new UnavailableError(
      'cgroup device policy',
      'bpf(BPF_PROG_ATTACH) fails with EINVAL',
      'Needs CONFIG_CGROUP_BPF',
    );
  if (result < 0) throw new SyscallError('bpf', result, { doing: 'attach the device program' });
}

/** Detaches a program again. */
export function detachDeviceProgram(cgroupFd: number, program: OwnedFd): void {
  check('bpf', changeAttachment(BPF_PROG_DETACH, cgroupFd, program), { doing: 'detach the device program' });
}

function changeAttachment(command: number, cgroupFd: number, program: OwnedFd): number {
  return bpf(command, (bytes) => {
    bytes.writeUInt32LE(cgroupFd, 0);
    bytes.writeUInt32LE(program.fd, 4);
    bytes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
    bytes.writeUInt32LE(command === BPF_PROG_ATTACH ? BPF_F_ALLOW_MULTI : 0, 12);
  });
}
