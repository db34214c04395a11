import { onlyKnownKeys, SpecError, UnavailableError } from '@ns/libc';
import {
  fileRights,
  fileRightsOf,
  kernelOfAbi,
  type LandlockFileRight,
  loggingFlags,
  networkRights,
  rightBits,
  rightsAt,
  rightsOfFiles,
  scopes,
} from './rights.ts';
import { checkLandlockSpec, type LandlockFiles, type LandlockNetwork, type LandlockSpec } from './spec.ts';
import { type LandlockSupport, landlockSupport } from './support.ts';

/**
 * What must be enforced, where the kernel is older than the spec:
 *
 * - `'named'` (default): everything the spec names. Of `files`, rights that came later (truncate, ioctl_dev) may be missing.
 * - `'all'`: every right of the table.
 * - `'best-effort'`: nothing has to be; the plan says what is missing.
 */
export type LandlockEnforcement = 'named' | 'all' | 'best-effort';

/** Something that the kernel does not enforce as the spec means it. */
export interface LandlockGap {
  /** `files`, `network`, `scopes.signal`, `logging.newExec`, or a right: `files: truncate`. */
  readonly feature: string;
  /** What happens instead. */
  readonly effect: 'unrestricted' | 'always refused' | 'not logged as asked';
  /** The Landlock ABI that has it. */
  readonly abi: number;
  /** The kernel that has it. */
  readonly kernel: string;
  /** The spec asks for it in so many words. */
  readonly named: boolean;
}

/** A rule about a path and what is below it. */
export interface LandlockPathRule {
  /** Absolute. */
  readonly path: string;
  /** LANDLOCK_ACCESS_FS_* bits if the path is a directory. */
  readonly access: number;
  /** The bits if it is not; 0: no rule. */
  readonly fileAccess: number;
}

/** The arguments of the landlock_*(2) calls that enforce a spec on one kernel. Numbers are bits of <linux/landlock.h>. */
export interface LandlockPlan {
  /** LANDLOCK_ACCESS_FS_* bits that are refused unless a rule allows them; 0: files are not restricted. */
  readonly handledAccessFs: number;
  /** The same of LANDLOCK_ACCESS_NET_*. */
  readonly handledAccessNet: number;
  /** LANDLOCK_SCOPE_* bits. */
  readonly scoped: number;
  /** One rule for each path that is named. */
  readonly paths: readonly LandlockPathRule[];
  /** What becomes of a path that does not exist. */
  readonly missingPaths: 'refuse' | 'skip';
  /** One rule for each TCP port. */
  readonly ports: readonly { readonly port: number; readonly access: number }[];
  /** Flags of landlock_restrict_self(2). */
  readonly restrictFlags: number;
  /** What is not enforced as the spec means it. */
  readonly gaps: readonly LandlockGap[];
  /** Nothing at all can be enforced. */
  readonly empty: boolean;
}

/**
 * Decides what to ask of the kernel. Touches nothing.
 *
 * @param options.support - the kernel to plan for; default the running one
 * @throws SpecError when the spec is wrong
 * @throws UnavailableError when the kernel lacks what `options.enforce` asks for
 *
 * @example
 * ```ts
 * const { gaps } = planLandlock({ files: { readOnly: ['/usr'] } }, { enforce: 'best-effort' });
 * gaps.map(({ feature, kernel }) => `${feature} needs Linux ${kernel}`);
 * ```
 */
export function planLandlock(
  spec: LandlockSpec,
  options: { readonly enforce?: LandlockEnforcement; readonly support?: LandlockSupport } = {},
): LandlockPlan {
  checkLandlockSpec(spec);
  onlyKnownKeys(options, ['enforce', 'support'], '');
  const { enforce = 'named', support = landlockSupport() } = options;
  if (!['named', 'all', 'best-effort'].includes(enforce))
    throw new SpecError('enforce', "'named', 'all' or 'best-effort'", enforce);
  const { abi } = support;
  const gaps: LandlockGap[] = [
    ...(spec.files ? fileGaps(abi) : []),
    ...(spec.network && abi < networkRights.bind_tcp.abi ? [gap('network', networkRights.bind_tcp.abi)] : []),
    ...(spec.scopes ?? [])
      .filter((name) => scopes[name].abi > abi)
      .map((name) => gap(`scopes.${name}`, scopes[name].abi)),
  ];
  const logging = loggingOf(spec, abi);
  gaps.push(...logging.gaps);
  refuseGaps(gaps, enforce, support);

  const handledAccessFs = spec.files ? rightBits(fileRights, rightsAt(fileRights, abi).known) : 0;
  const handledAccessNet = spec.network ? rightBits(networkRights, rightsAt(networkRights, abi).known) : 0;
  const scoped = rightBits(
    scopes,
    (spec.scopes ?? []).filter((name) => scopes[name].abi <= abi),
  );
  return {
    handledAccessFs,
    handledAccessNet,
    scoped,
    paths: handledAccessFs ? pathRules(spec.files ?? {}, handledAccessFs) : [],
    missingPaths: spec.files?.missingPaths ?? 'refuse',
    ports: handledAccessNet ? portRules(spec.network ?? {}) : [],
    restrictFlags: logging.flags,
    gaps,
    empty: handledAccessFs === 0 && handledAccessNet === 0 && scoped === 0,
  };
}

function gap(feature: string, abi: number, details: Partial<LandlockGap> = {}): LandlockGap {
  return { feature, abi, kernel: kernelOfAbi[abi] ?? '', effect: 'unrestricted', named: true, ...details };
}

function fileGaps(abi: number): LandlockGap[] {
  if (abi === 0) return [gap('files', 1)];
  return rightsAt(fileRights, abi).unknown.map((right) =>
    // Before ABI 2 no file could be moved to another directory, whatever the rules.
    gap(`files: ${right}`, fileRights[right].abi, {
      named: false,
      effect: right === 'refer' ? 'always refused' : 'unrestricted',
    }),
  );
}

function loggingOf({ logging = {} }: LandlockSpec, abi: number): { flags: number; gaps: LandlockGap[] } {
  let flags = 0;
  const gaps: LandlockGap[] = [];
  for (const [name, flag] of Object.entries(loggingFlags)) {
    if (logging[name as keyof typeof loggingFlags] !== flag.setBy) continue;
    if (flag.abi <= abi) flags |= 1 << flag.bit;
    else gaps.push(gap(`logging.${name}`, flag.abi, { effect: 'not logged as asked' }));
  }
  return { flags, gaps };
}

function refuseGaps(
  gaps: readonly LandlockGap[],
  enforce: LandlockEnforcement,
  { abi, why, fix }: LandlockSupport,
): void {
  if (enforce === 'best-effort') return;
  const refused = gaps.find(({ named }) => named || enforce === 'all');
  if (!refused) return;
  throw new UnavailableError(
    `landlock (${refused.feature})`,
    why ?? `it needs Linux ${refused.kernel} (Landlock ABI ${refused.abi}), this kernel has ABI ${abi}`,
    `${fix ? `${fix}, or` : 'Use a newer kernel, or'} give enforce: 'best-effort' to go on without`,
  );
}

function pathRules(files: LandlockFiles, handled: number): LandlockPathRule[] {
  const rules: { paths: readonly string[]; allow: readonly LandlockFileRight[] }[] = [...(files.rules ?? [])];
  for (const [list, allow] of Object.entries(fileRightsOf)) {
    rules.push({ paths: files[list as keyof typeof fileRightsOf] ?? [], allow });
  }
  // The kernel unites rules about the same object; one rule for each path is fewer calls.
  const accessOf = new Map<string, number>();
  for (const { paths, allow } of rules) {
    const access = rightBits(fileRights, allow) & handled;
    for (const path of paths) accessOf.set(path, (accessOf.get(path) ?? 0) | access);
  }
  return [...accessOf]
    .filter(([, access]) => access !== 0)
    .map(([path, access]) => ({ path, access, fileAccess: access & rightsOfFiles }));
}

function portRules({ connect = [], bind = [] }: LandlockNetwork): { port: number; access: number }[] {
  const accessOf = new Map<number, number>();
  for (const [ports, right] of [
    [bind, 'bind_tcp'],
    [connect, 'connect_tcp'],
  ] as const) {
    for (const port of ports) accessOf.set(port, (accessOf.get(port) ?? 0) | rightBits(networkRights, [right]));
  }
  return [...accessOf].map(([port, access]) => ({ port, access }));
}
