import { readFileSync } from 'node:fs';
import { O, onlyKnownKeys, open, SpecError, SyscallError, write } from '@ns/libc';
import { requireModule } from '../require-module.ts';
import { parseSelinuxContext } from './context.ts';
import { selinuxSupport } from './support.ts';

/** What {@link selinuxAllows} asks: may `source` do all of `permissions` to a `target` of the class? */
export interface SelinuxQuestion {
  /** Context of the process that acts. */
  readonly source: string;
  /** Context of what it acts on: a process, a file, … */
  readonly target: string;
  /** Class of the target in the policy's words: `process`, `file`, `fifo_file`, … */
  readonly class: string;
  /** In the policy's words: `['transition', 'dyntransition']`. */
  readonly permissions: readonly string[];
}

const root = '/sys/fs/selinux';

/**
 * What the loaded policy says, whether it is enforced or not: `access`, `class/` and `deny_unknown` of selinuxfs
 * (security_compute_av(3)). Nothing is logged, and nothing changes. Classes and permissions that the policy does not know are
 * allowed or not as it says of unknown ones. Needs `security:compute_av`, which policies give to all; a policy that does not
 * is no answer, which counts as no.
 *
 * @throws SpecError when a context cannot be one, or a name of a class or permission none
 * @throws UnavailableError when the kernel does not run SELinux
 *
 * @example
 * ```ts
 * const [source, target] = ['system_u:system_r:container_runtime_t:s0', 'system_u:system_r:container_t:s0:c1,c2'];
 * selinuxAllows({ source, target, class: 'process', permissions: ['transition'] });
 * ```
 */
export function selinuxAllows(question: SelinuxQuestion): boolean {
  checkQuestion(question);
  const { source, target, permissions } = question;
  requireModule('SELinux', selinuxSupport());

  const number = readNumber(`class/${question.class}/index`);
  const bits = permissions.map((name) => number && readNumber(`class/${question.class}/perms/${name}`));
  const known = bits.filter((bit) => bit !== undefined);
  if (known.length < bits.length && readNumber('deny_unknown') !== 0) return false;
  if (known.length === 0) return true;
  const allowed = allowedVector(`${source} ${target} ${number}`);
  return known.every((bit) => allowed & (1n << BigInt(bit - 1)));
}

function checkQuestion(question: unknown): void {
  onlyKnownKeys(question, ['source', 'target', 'class', 'permissions'], '');
  const { source, target, class: className, permissions } = question;
  parseSelinuxContext(source, 'source');
  parseSelinuxContext(target, 'target');
  checkName(className, 'class');
  if (!Array.isArray(permissions) || permissions.length === 0)
    throw new SpecError('permissions', 'a list of at least one permission', permissions);
  for (const [index, permission] of permissions.entries()) checkName(permission, `permissions[${index}]`);
}

function checkName(name: unknown, field: string): void {
  if (typeof name !== 'string' || !/^\w+$/.test(name)) throw new SpecError(field, 'a name of the policy', name);
}

/** A number of selinuxfs; undefined for what the policy does not know. */
function readNumber(file: string): number | undefined {
  try {
    return Number(readFileSync(`${root}/${file}`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** The first field of the answer: a bit for each permission of the class, as hexadecimal number. */
function allowedVector(question: string): bigint {
  using file = open(`${root}/access`, O.RDWR);
  try {
    write(file.fd, Buffer.from(question));
  } catch (error) {
    // EINVAL: the policy does not know a context. EACCES: it lets this process not ask.
    if (error instanceof SyscallError && (error.code === 'EINVAL' || error.code === 'EACCES')) return 0n;
    throw error;
  }
  return BigInt(`0x${readFileSync(file.fd, 'latin1').split(' ')[0]}`);
}
