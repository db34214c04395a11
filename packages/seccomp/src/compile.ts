import { ERRNO } from '@ns/libc';
import { SECCOMP_RET } from './actions.ts';
import { architectures } from './architectures.ts';
import { Assembler, BPF } from './assembler.ts';
import { compiledBefore } from './compiled-before.ts';
import { attachFilterMethods, type SeccompFilter } from './filter.ts';
import { numberRanges } from './number-ranges.ts';
import type { SeccompProfile } from './profile.ts';
import { checkOptions, resolveTarget } from './resolve-target.ts';
import { buildRuleTable, type RuleTable } from './rule-table.ts';
import { search } from './search.ts';
import { selectArchitectures, selectRules, type Target } from './select-rules.ts';
import { SECCOMP_FILTER_FLAG, type ValidProfile, validateProfile } from './validate-profile.ts';

/** For whom a profile is compiled. */
export interface CompileOptions {
  /** Machine architecture: ours (`x86_64`), Node's (`x64`), Go's (`amd64`) or `SCMP_ARCH_*`. Default: this machine's. */
  readonly arch?: string;
  /** Capabilities the process keeps, `CAP_SYS_ADMIN`: what `includes.caps` and `excludes.caps` ask for. Default: none. */
  readonly capabilities?: Iterable<string>;
  /** Kernel release for `minKernel`. Default: the running one. */
  readonly kernelVersion?: string;
  /**
   * What numbers above the highest one a profile names get, by runc's rule: `'enosys'` (default) lets programs fall back to
   * older calls, unless the profile allows by default; `'default-action'` treats them like any other, as libseccomp does.
   */
  readonly newerSyscalls?: 'enosys' | 'default-action';
}

/** A profile worked out for a target: what {@link compile} turns into code and {@link explain} reads. */
export interface ResolvedProfile {
  readonly valid: ValidProfile;
  readonly target: Target;
  /** The machine's own ABI first. */
  readonly tables: readonly RuleTable[];
  /** The verdict for numbers above the highest one named, when it is not the default action. */
  readonly newerResult: number | undefined;
}

/**
 * Compiles an OCI or Docker profile to a classic BPF program for seccomp(2), without libseccomp and without privilege.
 *
 * The program looks at the ABI first: one the profile does not name kills the process, x32 calls (bit 30) on x86_64
 * included. Then it searches the number in ranges of equal treatment, and only where a rule has conditions looks at the arguments.
 *
 * @param profile - not trusted: every field is checked
 * @throws SpecError with the field when the profile or an option is not right, or the program exceeds `BPF_MAXINSNS`
 *
 * @example
 * ```ts
 * const filter = compile(profiles.default, { arch: 'x86_64', capabilities: ['CAP_CHOWN'] });
 * filter.evaluate({ syscall: 'mount', args: [] }); // { action: 'ERRNO', errno: 'EPERM' }
 * ```
 */
export function compile(profile: SeccompProfile, options: CompileOptions = {}): SeccompFilter {
  checkOptions(options);
  return compiledBefore(profile, options) ?? compileAnew(profile, options);
}

/** {@link compile} without the filters that come compiled. */
export function compileAnew(profile: SeccompProfile, options: CompileOptions = {}): SeccompFilter {
  const resolved = resolveProfile(profile, options);
  const { valid, target, tables } = resolved;
  const assembler = new Assembler();

  let start = assembler.ret(SECCOMP_RET.KILL_PROCESS);
  // The kernel gives x86_64 and x32 the same architecture; bit 30 makes them two regions of one space of numbers.
  const audits = new Set(tables.map(({ arch }) => architectures[arch].audit));
  for (const audit of [...audits].toReversed()) {
    const same = tables.filter(({ arch }) => architectures[arch].audit === audit);
    const found = search(assembler, numberRanges(assembler, same, resolved));
    start = assembler.jump(BPF.JEQ_K, audit, assembler.load(OFFSET_NR, found), start);
  }
  start = assembler.load(OFFSET_ARCH, start);

  const { bigEndian } = architectures[target.arch];
  const notifies = tables.some(({ bySyscall }) => [...bySyscall.values()].some(returnsNotify));
  return attachFilterMethods(assembler.finish(start, { bigEndian }), {
    arch: target.arch,
    architectures: tables.map(({ arch }) => arch),
    flags: filterFlags(valid.flags, notifies),
    notifies,
    warnings: unknownNames(tables),
  });
}

const OFFSET_NR = 0;
const OFFSET_ARCH = 4;

/** Checks a profile and works out what it says for a target. */
export function resolveProfile(profile: SeccompProfile, options: CompileOptions = {}): ResolvedProfile {
  const valid = validateProfile(profile);
  const target = resolveTarget(options);
  const rules = selectRules(valid.rules, target);
  const tables = selectArchitectures(valid, target.arch).map((arch) =>
    buildRuleTable(rules, valid.defaultResult, arch),
  );
  const permissive = PERMISSIVE.has((valid.defaultResult & 0xffff0000) >>> 0);
  const enosys = SECCOMP_RET.ERRNO | ERRNO.ENOSYS;
  const newerResult =
    options.newerSyscalls === 'default-action' || permissive || valid.defaultResult === enosys ? undefined : enosys;
  return { valid, target, tables, newerResult };
}

// Under these a call the kernel does not know gets ENOSYS by itself.
const PERMISSIVE = new Set<number>([SECCOMP_RET.ALLOW, SECCOMP_RET.LOG, SECCOMP_RET.TRACE]);

function returnsNotify(rules: {
  always?: { result: number } | undefined;
  tried?: readonly { result: number }[];
}): boolean {
  return [rules.always, ...(rules.tried ?? [])].some((rule) => rule?.result === SECCOMP_RET.USER_NOTIF);
}

function filterFlags(asked: number, notifies: boolean): number {
  // seccomp(2): TSYNC reports a thread that could not follow in the place where NEW_LISTENER returns the descriptor.
  const clash = notifies && (asked & SECCOMP_FILTER_FLAG.TSYNC) !== 0;
  // Without a listener there is nothing to wait for and the kernel says EINVAL.
  const useless = notifies ? 0 : SECCOMP_FILTER_FLAG.WAIT_KILLABLE_RECV;
  return (asked & ~useless) | (clash ? SECCOMP_FILTER_FLAG.TSYNC_ESRCH : 0);
}

/** Names that none of the ABIs has: likely misspelt, or newer than the tables. */
function unknownNames(tables: readonly RuleTable[]): string[] {
  const [first, ...rest] = tables.map(({ unknown }) => new Set(unknown));
  return [...first!]
    .filter((name) => rest.every((set) => set.has(name)))
    .map((name) => `unknown system call ${JSON.stringify(name)} was left out`);
}
