import { spawnSync } from 'node:child_process';
import { ERRNO, errnoNumber } from '@ns/libc';
import type { ProfileArgument, ProfileCondition, ProfileRule, SeccompProfile } from '@ns/seccomp';

const PYTHON = '/usr/bin/python3';

// Reads a list of {default, architectures, rules} and writes, for each, the program that libseccomp makes of them (null when it
// refuses) and the names it did not know.
const EXPORT = `
import json, seccomp, sys, tempfile
ACTIONS = {'ALLOW': seccomp.ALLOW, 'KILL': seccomp.KILL, 'KILL_THREAD': seccomp.KILL, 'KILL_PROCESS': seccomp.KILL_PROCESS,
           'TRAP': seccomp.TRAP, 'LOG': seccomp.LOG, 'NOTIFY': seccomp.NOTIFY}
def action(a):
    name, value = a
    name = name.removeprefix('SCMP_ACT_')
    if name == 'ERRNO': return seccomp.ERRNO(value)
    if name == 'TRACE': return seccomp.TRACE(value)
    return ACTIONS[name]
def export(spec):
    f = seccomp.SyscallFilter(defaction=action(spec['default']))
    f.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    archs = [getattr(seccomp.Arch, a) for a in spec['architectures']]
    if seccomp.Arch.X86_64 not in archs: f.remove_arch(seccomp.Arch.X86_64)
    for a in archs:
        if not f.exist_arch(a): f.add_arch(a)
    unknown = []
    for names, act, args in spec['rules']:
        if action(act) == action(spec['default']): continue
        for name in names:
            try: seccomp.resolve_syscall(seccomp.Arch.X86_64, name)
            except (ValueError, RuntimeError): unknown.append(name); continue
            if seccomp.resolve_syscall(seccomp.Arch.X86_64, name) == -1: unknown.append(name); continue
            try: f.add_rule(action(act), name, *[seccomp.Arg(i, getattr(seccomp, op), int(a), int(b)) for i, op, a, b in args])
            except Exception as e: raise RuntimeError('%s %s %s: %s %r' % (name, act, args, e, e))
    with tempfile.TemporaryFile() as out:
        f.export_bpf(out)
        out.seek(0)
        return {'program': out.read().hex(), 'unknown': unknown}
def attempt(spec):
    try: return export(spec)
    except Exception as error: return {'program': None, 'unknown': [], 'error': str(error)}
json.dump([attempt(spec) for spec in json.load(sys.stdin)], sys.stdout)
`;

/** Why libseccomp cannot be asked, or `undefined`. */
export const noLibseccomp: string | undefined =
  spawnSync(PYTHON, ['-c', 'import seccomp']).status === 0 ? undefined : 'python3-seccomp is not installed';

export interface LibseccompOptions {
  /** libseccomp's names in the order in which they are added, `X86_64`. */
  readonly architectures: readonly string[];
  /** Which rules count: the machine is described by Docker's name for it. */
  readonly goArch: string;
  readonly capabilities?: readonly string[];
}

/** What libseccomp made of a profile. */
export interface LibseccompResult {
  /** `undefined` when it refused the profile. */
  readonly program: Buffer | undefined;
  /** Names it did not know. */
  readonly unknown: readonly string[];
  readonly error?: string;
}

/** The programs libseccomp makes of profiles when it is called as runc calls it. */
export function libseccompPrograms(
  profiles: readonly SeccompProfile[],
  options: LibseccompOptions,
): LibseccompResult[] {
  const input = JSON.stringify(profiles.map((profile) => describe(profile, options)));
  const python = spawnSync(PYTHON, ['-c', EXPORT], { input, maxBuffer: 1 << 28, timeout: 60_000 });
  if (python.status !== 0) throw new Error(`libseccomp: ${python.stderr}`);
  const results = JSON.parse(String(python.stdout)) as { program: string | null; unknown: string[]; error?: string }[];
  return results.map((result) => ({
    ...result,
    program: result.program === null ? undefined : Buffer.from(result.program, 'hex'),
  }));
}

/** The kernel for which `minKernel` is decided: a version with one digit on each side compares as a number. */
export const ORACLE_KERNEL = '6.1';

/** All names of a rule, the old form's single one included. */
export function ruleNames({ names, name }: ProfileRule): readonly string[] {
  return name ? [...(names ?? []), name] : (names ?? []);
}

function describe(profile: SeccompProfile, options: LibseccompOptions) {
  const rules = (profile.syscalls ?? []).filter(
    ({ includes, excludes }) =>
      answers(includes, options).every((holds) => holds) && !answers(excludes, options).some((holds) => holds),
  );
  return {
    default: [profile.defaultAction, errnoOf(profile.defaultErrno, profile.defaultErrnoRet)],
    architectures: options.architectures,
    rules: rules.flatMap((rule) =>
      alternatives(rule).map((args) => [
        ruleNames(rule),
        [rule.action, errnoOf(rule.errno, rule.errnoRet)],
        args.map(argument),
      ]),
    ),
  };
}

/** Everything that a condition asks for, answered. */
function answers(condition: ProfileCondition | null | undefined, { capabilities = [], goArch }: LibseccompOptions) {
  const { caps, arches, minKernel } = condition ?? {};
  return [
    ...(caps ?? []).map((cap) => capabilities.includes(cap)),
    ...(arches?.length ? [arches.includes(goArch)] : []),
    ...(minKernel ? [Number(minKernel) <= Number(ORACLE_KERNEL)] : []),
  ];
}

function errnoOf(name: string | undefined, number: number | null | undefined): number {
  return name ? errnoNumber(name)! : (number ?? ERRNO.EPERM);
}

function alternatives({ args }: ProfileRule): (readonly ProfileArgument[])[] {
  const list = args ?? [];
  return new Set(list.map(({ index }) => index)).size < list.length ? list.map((arg) => [arg]) : [list];
}

function argument({ index, op, value, valueTwo }: ProfileArgument): [number, string, string, string] {
  return [index, op.replace('SCMP_CMP_', ''), String(value), String(valueTwo ?? 0)];
}
