import {
  AT_FDCWD,
  allocate,
  check,
  O,
  OwnedFd,
  onlyKnownKeys,
  openat2,
  RESOLVE,
  S,
  SYS,
  SyscallError,
  statFd,
  syscall,
} from '@ns/libc';
import {
  type LandlockEnforcement,
  type LandlockGap,
  type LandlockPathRule,
  type LandlockPlan,
  planLandlock,
} from './plan.ts';
import type { LandlockSpec } from './spec.ts';

const LANDLOCK_RULE_PATH_BENEATH = 1;
const LANDLOCK_RULE_NET_PORT = 2;

/** Where and how strictly a spec is enforced. */
export interface LandlockOptions {
  /** What the kernel must be able to enforce. Default `'named'`. */
  readonly enforce?: LandlockEnforcement;
  /**
   * Descriptor of the directory that is "/" for the paths of the spec: links lead nowhere outside it. Default: this
   * process's own root. Rules hold for files, not for names, so a container's root can be given before it is entered.
   */
  readonly root?: number;
}

/**
 * A Landlock ruleset: what a process that enforces it may still do. Needs no privileges.
 *
 * It restricts nobody until a process hands {@link LandlockRuleset.fd} to landlock_restrict_self(2): `spawnRestricted`
 * does that for a new process. Node itself cannot be restricted usefully: only the calling thread would be, and file
 * access happens on others.
 *
 * @example
 * ```ts
 * using ruleset = LandlockRuleset.create({
 *   files: { execute: ['/usr', '/lib', '/lib64'], readWrite: ['/tmp/job'] },
 *   network: { connect: [443] },
 * });
 * ```
 */
export class LandlockRuleset implements Disposable {
  /** The ruleset; `undefined` when the kernel can enforce nothing of it, which only `'best-effort'` lets happen. */
  readonly fd: OwnedFd | undefined;
  /** The flags that landlock_restrict_self(2) is to be called with. */
  readonly restrictFlags: number;
  /** What is not enforced as the spec means it. */
  readonly gaps: readonly LandlockGap[];
  /** What the kernel is asked for. Its paths are also what a `landlock` step of `@ns/launch` takes. */
  readonly plan: LandlockPlan;

  private constructor(plan: LandlockPlan, fd: OwnedFd | undefined) {
    this.plan = plan;
    this.fd = fd;
    this.restrictFlags = plan.restrictFlags;
    this.gaps = plan.gaps;
  }

  /**
   * Makes a ruleset: landlock_create_ruleset(2), and landlock_add_rule(2) for each path and port.
   *
   * @throws SpecError when the spec is wrong
   * @throws UnavailableError when the kernel lacks what is asked for
   * @throws SyscallError `ENOENT` and `ENOTDIR` for a path that does not exist, unless `missingPaths` is `'skip'`;
   *   `EBADFD` for a path on a file system without names (a namespace or pipe in /proc/PID/fd)
   */
  static create(spec: LandlockSpec, options: LandlockOptions = {}): LandlockRuleset {
    const ruleset = LandlockRuleset.withoutPaths(spec, options);
    try {
      ruleset.addPaths(options);
      return ruleset;
    } catch (error) {
      ruleset.close();
      throw error;
    }
  }

  /**
   * The same, with the rules about paths left to {@link LandlockRuleset.addPaths}: for a root that does not exist yet when
   * the descriptor is handed over. Until then no file is allowed.
   */
  static withoutPaths(spec: LandlockSpec, options: Pick<LandlockOptions, 'enforce'> = {}): LandlockRuleset {
    // A misspelt `enforce` must not be silently none.
    onlyKnownKeys(options, ['enforce', 'root'], '');
    const { enforce } = options;
    const plan = planLandlock(spec, enforce === undefined ? {} : { enforce });
    if (plan.empty) return new LandlockRuleset(plan, undefined);
    const ruleset = new LandlockRuleset(plan, createRuleset(plan));
    try {
      ruleset.#addPorts();
      return ruleset;
    } catch (error) {
      ruleset.close();
      throw error;
    }
  }

  #addPorts(): void {
    const attribute = allocate(16); // struct landlock_net_port_attr
    for (const { port, access } of this.plan.ports) {
      attribute.bytes.writeBigUInt64LE(BigInt(access), 0);
      attribute.bytes.writeBigUInt64LE(BigInt(port), 8);
      const { fd } = this.fd!;
      check('landlock_add_rule', syscall(SYS.landlock_add_rule, fd, LANDLOCK_RULE_NET_PORT, attribute.address, 0), {
        args: { port },
      });
    }
  }

  /** Adds the rules about paths, as they resolve now. Errors as for {@link LandlockRuleset.create}. */
  addPaths(options: Pick<LandlockOptions, 'root'> = {}): void {
    if (this.fd) for (const rule of this.plan.paths) addPath(this.fd.fd, rule, this.plan.missingPaths, options.root);
  }

  /** Idempotent. Processes that enforce the ruleset go on doing so. */
  close(): void {
    this.fd?.close();
  }

  /** The same as {@link LandlockRuleset.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function createRuleset({ handledAccessFs, handledAccessNet, scoped }: LandlockPlan): OwnedFd {
  // struct landlock_ruleset_attr; older kernels know fewer fields and accept the others as long as they are zero.
  const attribute = allocate(24);
  [handledAccessFs, handledAccessNet, scoped].forEach((bits, index) => {
    attribute.bytes.writeBigUInt64LE(BigInt(bits), index * 8);
  });
  const result = syscall(SYS.landlock_create_ruleset, attribute.address, 24, 0);
  return new OwnedFd(check('landlock_create_ruleset', result));
}

function addPath(
  ruleset: number,
  { path, access, fileAccess }: LandlockPathRule,
  missing: 'refuse' | 'skip',
  root: number | undefined,
): void {
  using place = openPath(path, missing, root);
  if (!place) return;
  const allowed = (statFd(place.fd).mode & S.IFMT) === S.IFDIR ? access : fileAccess;
  if (allowed === 0) return;
  const attribute = allocate(12); // struct landlock_path_beneath_attr, packed
  attribute.bytes.writeBigUInt64LE(BigInt(allowed), 0);
  attribute.bytes.writeInt32LE(place.fd, 8);
  check(
    'landlock_add_rule',
    syscall(SYS.landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, attribute.address, 0),
    { path },
  );
}

function openPath(path: string, missing: 'refuse' | 'skip', root: number | undefined): OwnedFd | undefined {
  const resolve = root === undefined ? 0 : RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
  try {
    return openat2(root ?? AT_FDCWD, path, { flags: O.PATH, resolve });
  } catch (error) {
    const gone = error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
    if (!gone) throw error;
    if (missing === 'skip') return undefined;
    throw new SyscallError('openat2', error.errno, {
      path,
      doing: `allow '${path}' in a Landlock ruleset`,
      hint: "Give files.missingPaths: 'skip' to leave such paths out",
    });
  }
}
