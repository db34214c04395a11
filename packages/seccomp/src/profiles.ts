import { dockerDefaultProfile } from './generated/docker-default-profile.ts';
import { lowWordEquals, lowWordExcept } from './low-word.ts';
import type { ProfileRule, SeccompProfile } from './profile.ts';

export { dockerProfileVersion } from './generated/docker-default-profile.ts';

const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16, ALG: 38, VSOCK: 40 } as const;
const NETLINK_ROUTE = 0;
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const S_IFMT = 0o170000;

const allow = (names: readonly string[], ...args: NonNullable<ProfileRule['args']>): ProfileRule => ({
  names,
  action: 'SCMP_ACT_ALLOW',
  args,
});

const dockerRules = dockerDefaultProfile.syscalls ?? [];
const without = (excluded: ReadonlySet<string>) => (rule: ProfileRule) => ({
  ...rule,
  names: (rule.names ?? []).filter((name) => !excluded.has(name)),
});
// Both type into a terminal, which somebody else may read as well. CVE-2017-5226
const typingRefused = lowWordExcept(1, [TIOCSTI, TIOCLINUX]).map((request) => allow(['ioctl'], request));
const rulesFor = (name: string) => dockerRules.filter(({ names }) => names?.length === 1 && names[0] === name);

// Its filter comes compiled: a change made to it at run time would have no effect, so it must fail.
const hardened: SeccompProfile = frozen({
  ...dockerDefaultProfile,
  syscalls: [
    ...dockerRules.filter((rule) => !rulesFor('socket').includes(rule)).map(without(new Set(['ioctl']))),
    ...lowWordExcept(0, [AF.ALG, AF.VSOCK]).map((family) => allow(['socket'], family)),
    ...typingRefused,
  ],
});

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}

// What Docker allows to everybody, and a program that computes, serves or builds can do without.
const NOT_FOR_UNTRUSTED: ReadonlySet<string> = new Set([
  // Looking into and steering other processes, and comparing kernel addresses through them.
  'ptrace',
  'process_vm_readv',
  'process_vm_writev',
  'process_madvise',
  'process_mrelease',
  'kcmp',
  'pidfd_getfd',
  // Files by handle instead of by path.
  'name_to_handle_at',
  'open_by_handle_at',
  // Kernel subsystems with a history of escalation and another way to do the same.
  'io_setup',
  'io_submit',
  'io_cancel',
  'io_destroy',
  'io_getevents',
  'io_pgetevents',
  'io_pgetevents_time64',
  'vmsplice',
  'remap_file_pages',
  'modify_ldt',
  'memfd_secret',
  'fanotify_mark',
  'fanotify_init',
  'mq_open',
  'mq_unlink',
  'mq_notify',
  'mq_timedsend',
  'mq_timedreceive',
  'mq_timedsend_time64',
  'mq_timedreceive_time64',
  'mq_getsetattr',
  // What tunes the machine rather than the program.
  'adjtimex',
  'clock_adjtime',
  'clock_adjtime64',
  'ioprio_set',
  'mlockall',
  'sched_setattr',
  'personality',
  'syslog',
  'vhangup',
  // Replaced below by narrower rules.
  'socketcall',
  'socket',
  'ioctl',
  'mknod',
  'mknodat',
  'clone',
  'clone3',
]);

const strict: SeccompProfile = {
  ...dockerDefaultProfile,
  syscalls: [
    // Without Docker's rules for capabilities: a process that holds one by mistake gains no call by it.
    ...dockerRules
      .filter(({ includes, action, args }) => action === 'SCMP_ACT_ALLOW' && !includes?.caps && !args?.length)
      .map(without(NOT_FOR_UNTRUSTED))
      .filter(({ names }) => names.length > 0),
    ...rulesFor('clone').map((rule) => ({ ...rule, excludes: { ...rule.excludes, caps: [] } })),
    {
      names: ['clone3'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: 38,
      comment: 'its flags lie in memory; ENOSYS makes libc take clone',
    },
    {
      names: ['socketcall'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: 38,
      comment:
        'its arguments lie in memory: unless it is refused itself, each call that is allowed is allowed through it, with any family',
    },
    ...[AF.UNIX, AF.INET, AF.INET6].map((family) => allow(['socket'], lowWordEquals(0, family))),
    // getifaddrs(3) needs the routing family of netlink; the others (nftables, audit, xfrm) are left out.
    allow(['socket'], lowWordEquals(0, AF.NETLINK), lowWordEquals(2, NETLINK_ROUTE)),
    ...typingRefused,
    // Plain files, pipes and sockets, but no device nodes.
    ...[0, 0o100000, 0o010000, 0o140000].flatMap((type) => [
      allow(['mknod'], { index: 1, op: 'SCMP_CMP_MASKED_EQ', value: S_IFMT, valueTwo: type }),
      allow(['mknodat'], { index: 2, op: 'SCMP_CMP_MASKED_EQ', value: S_IFMT, valueTwo: type }),
    ]),
    allow(['personality'], lowWordEquals(0, 0)),
    allow(['personality'], lowWordEquals(0, 0xffffffff)),
  ],
};

/** Profiles that come with this package: plain data in the form of the OCI runtime specification with Docker's extensions. */
export const profiles: {
  /**
   * Docker's default profile, with two holes closed. Its rules for socket(2) compare 64 bits where the kernel takes 32, so
   * `socket(AF_VSOCK | 1 << 32)` passes them: here AF_ALG and AF_VSOCK are refused whatever the upper half. And nothing is
   * typed into terminals: TIOCSTI and TIOCLINUX are EPERM (CVE-2017-5226).
   */
  readonly default: SeccompProfile;
  /** Docker's default profile as it is published ({@link dockerProfileVersion}). */
  readonly docker: SeccompProfile;
  /**
   * For code nobody has read. Docker's list without debugging and reading other processes, asynchronous I/O contexts,
   * POSIX message queues, file handles, device nodes, typing into terminals, and without what capabilities would add; sockets
   * are UNIX, IPv4, IPv6 and netlink's routing family.
   */
  readonly strict: SeccompProfile;
  /** Allows everything, as `--security-opt seccomp=unconfined` does. Whoever means it had better install no filter at all. */
  readonly unconfined: SeccompProfile;
} = { default: hardened, docker: dockerDefaultProfile, strict, unconfined: { defaultAction: 'SCMP_ACT_ALLOW' } };
