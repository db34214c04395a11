import {
  AT_FDCWD,
  ERRNO,
  LINUX_CAPABILITY_VERSION_3,
  O,
  PR,
  PR_CAP_AMBIENT,
  SECCOMP,
  SIG_SETMASK,
  SpecError,
} from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import { Label } from '../program.ts';
import { sendRecord } from '../send-record.ts';
import { SIGNALS } from '../signals.ts';
import { closeAllButReports } from './close-descriptors.ts';
import { procName, writeProc } from './write-proc.ts';

/** Steps that take privileges away, and the last one: the program itself. */
export type SecurityStep =
  /** Capabilities outside `keep` can never be had again, not even from a file (capabilities(7), bounding set). */
  | { readonly op: 'boundingSet'; readonly keep: bigint; readonly lastCapability: number }
  /** User, group and supplementary groups: `groups` empty clears the list, undefined leaves it (setgroups denied in the user namespace). */
  | { readonly op: 'credentials'; readonly uid: number; readonly gid: number; readonly groups?: readonly number[] }
  /** The thread's sets. Inheritable and ambient are empty unless given (CVE-2022-24769). */
  | {
      readonly op: 'capabilities';
      readonly permitted: bigint;
      readonly effective: bigint;
      readonly inheritable?: bigint;
      readonly ambient?: readonly number[];
    }
  /** execve(2) grants no privileges from now on. */
  | { readonly op: 'noNewPrivileges' }
  /** A seccomp filter: an array of struct sock_filter. `listener`: hand the notification descriptor to the caller. */
  | { readonly op: 'seccomp'; readonly filter: Uint8Array; readonly flags: number; readonly listener?: boolean }
  /** Enforce a Landlock ruleset given by descriptor. `flags`: LANDLOCK_RESTRICT_SELF_* (since 6.15). */
  | {
      readonly op: 'landlock';
      /** Name of the ruleset's descriptor. */
      readonly ruleset: string;
      /** Of landlock_restrict_self(2). */
      readonly flags?: number;
      /** Rules for paths as they are inside the root: what a descriptor made outside cannot have. */
      readonly paths?: readonly { readonly path: string; readonly access: number; readonly fileAccess: number }[];
      readonly missingPaths?: 'refuse' | 'skip';
    }
  /** The AppArmor profile or SELinux label that execve will switch to; or with `attr/current`, that of this process from now on. */
  | { readonly op: 'execLabel'; readonly file: string; readonly label: string }
  /** Close every descriptor the program shall not have, for real: close-on-exec alone leaves them usable as paths until then (CVE-2024-21626). */
  | { readonly op: 'closeFds' }
  /** Empty signal mask: it was full so that no signal is lost during the setup. */
  | { readonly op: 'unblockSignals' }
  /** Become the program. `candidates` are tried in order, as a shell does with PATH. */
  | {
      readonly op: 'exec';
      readonly candidates: readonly string[];
      readonly argv: readonly string[];
      readonly env: readonly string[];
    };

export const securityLowerings: Lowerings<SecurityStep> = {
  boundingSet({ keep, lastCapability }, { asm }) {
    for (let capability = 0; capability <= lastCapability; capability++) {
      // EINVAL: a capability this kernel does not know.
      if (!((keep >> BigInt(capability)) & 1n))
        asm.call('prctl', [PR.CAPBSET_DROP, capability, 0, 0, 0], { tolerate: ['EINVAL'] });
    }
  },

  credentials({ uid, gid, groups }, { asm }) {
    for (const [field, id] of [
      ['uid', uid],
      ['gid', gid],
      ...(groups ?? []).map((group) => ['groups', group] as const),
    ] as const) {
      // The kernel looks at 32 bits, and at all ones as "no change": either would leave us root (CVE-2016-3697).
      if (!Number.isInteger(id) || id < 0 || id > 0xfffffffe)
        throw new SpecError(field, 'an integer from 0 to 4294967294', id);
    }
    // Permitted capabilities survive the change of user until capset has its say.
    asm.call('prctl', [PR.SET_KEEPCAPS, 1, 0, 0, 0]);
    if (groups)
      asm.call('setgroups', [
        groups.length,
        groups.length > 0 ? asm.bytes(Buffer.from(Uint32Array.from(groups).buffer)) : 0,
      ]);
    asm.call('setresgid', [gid, gid, gid]);
    asm.call('setresuid', [uid, uid, uid]);
    asm.call('prctl', [PR.SET_KEEPCAPS, 0, 0, 0, 0]);
    // The kernel clears both when credentials change.
    asm.call('prctl', [PR.SET_DUMPABLE, 0, 0, 0, 0]);
    asm.call('prctl', [PR.SET_PDEATHSIG, SIGNALS.SIGKILL, 0, 0, 0]);
  },

  capabilities({ permitted, effective, inheritable = 0n, ambient = [] }, { asm }) {
    const header = Buffer.alloc(8);
    header.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
    const data = Buffer.alloc(24); // two struct __user_cap_data_struct: low and high halves
    for (const half of [0, 1]) {
      [effective, permitted, inheritable].forEach((set, i) => {
        data.writeUInt32LE(Number((set >> BigInt(32 * half)) & 0xffffffffn), half * 12 + i * 4);
      });
    }
    asm.call('capset', [asm.bytes(header), asm.bytes(data)]);
    asm.call('prctl', [PR.CAP_AMBIENT, PR_CAP_AMBIENT.CLEAR_ALL, 0, 0, 0]);
    for (const capability of ambient) asm.call('prctl', [PR.CAP_AMBIENT, PR_CAP_AMBIENT.RAISE, capability, 0, 0]);
  },

  noNewPrivileges(_, { asm }) {
    asm.call('prctl', [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  },

  seccomp({ filter, flags, listener }, to) {
    const { asm } = to;
    const program = asm.words([filter.length / 8, asm.bytes(filter)]); // struct sock_fprog
    if (!listener) {
      asm.call('seccomp', [SECCOMP.SET_MODE_FILTER, flags, program]);
      return;
    }
    const fd = asm.slot();
    asm.call('seccomp', [SECCOMP.SET_MODE_FILTER, flags | SECCOMP.FILTER_FLAG_NEW_LISTENER, program], { store: fd });
    sendRecord(to, { kind: 'seccompListener' }, fd);
  },

  landlock({ ruleset, flags = 0, paths = [], missingPaths = 'refuse' }, to) {
    const { asm } = to;
    for (const { path, access, fileAccess } of paths) {
      const place = asm.slot();
      const [isFile, add, next] = [new Label(), new Label(), new Label()];
      // struct landlock_path_beneath_attr: allowed_access, then parent_fd
      const rule = asm.words([access, 0]);
      const skip = missingPaths === 'skip' ? (['ENOENT'] as const) : [];
      asm.call('openat', [AT_FDCWD, asm.string(path), O.PATH | O.DIRECTORY | O.CLOEXEC], {
        store: place,
        tolerate: ['ENOTDIR', ...skip],
        otherwise: isFile,
      });
      asm.jump(add);
      asm.place(isFile);
      asm.jumpIfEqual(place, -ERRNO.ENOENT, next);
      if (fileAccess === 0) {
        asm.jump(next);
      } else {
        asm.copy(rule, asm.words([fileAccess]), 8);
        asm.call('openat', [AT_FDCWD, asm.string(path), O.PATH | O.CLOEXEC], { store: place });
      }
      asm.place(add);
      asm.copy(rule + 8, place.address, 4);
      asm.call('landlock_add_rule', [to.fd(ruleset), LANDLOCK_RULE_PATH_BENEATH, rule, 0]);
      asm.place(next);
    }
    asm.call('landlock_restrict_self', [to.fd(ruleset), flags]);
  },

  execLabel({ file, label }, to) {
    writeProc(to, procName(file), label);
  },

  closeFds(_, to) {
    for (let i = 0; i < to.layout.extra; i++) to.asm.call('dup3', [to.extraFd(i), 3 + i, 0]);
    closeAllButReports(to);
  },

  unblockSignals(_, { asm }) {
    asm.call('rt_sigprocmask', [SIG_SETMASK, asm.bytes(8), 0, 8]);
  },

  exec({ candidates, argv, env }, { asm }) {
    const [argvAddress, envAddress] = [asm.strings(argv), asm.strings(env)];
    const denied = asm.slot();
    candidates.forEach((path, i) => {
      const failed = asm.slot();
      const next = new Label();
      const last = i === candidates.length - 1;
      const search = last && candidates.length === 1 ? {} : { tolerate: 'any' as const, otherwise: next };
      asm.call('execve', [asm.string(path), argvAddress, envAddress], { ...search, store: failed });
      asm.place(next);
      if (candidates.length === 1) return;
      // As execvp(3): not there means look further, no permission is remembered, anything else is final.
      const further = new Label();
      asm.jumpIfEqual(failed, -ERRNO.ENOENT, further);
      asm.jumpIfEqual(failed, -ERRNO.ENOTDIR, further);
      asm.copy(denied.address, failed.address, 8);
      asm.jumpIfEqual(failed, -ERRNO.EACCES, further);
      asm.call('execve', [asm.string(path), argvAddress, envAddress]);
      asm.place(further);
    });
    if (candidates.length === 1) return;
    const nowhere = new Label();
    asm.jumpIfEqual(denied, 0, nowhere);
    asm.fail('EACCES');
    asm.place(nowhere);
    asm.fail('ENOENT');
  },
};

const LANDLOCK_RULE_PATH_BENEATH = 1;
