import { SpecError } from '@ns/libc';
import * as v from 'valibot';
import { checkInput } from './check-input.ts';
import { integer, isPlainObject } from './field-schemas.ts';
import { execFields } from './validate-spec.ts';

const { user: _user, groups: _groups, umask: _umask, tty: _tty, ...pooledFields } = execFields;
const pooledSchema = v.strictObject(pooledFields);

/** Checks a command for a sandbox of a pool. Throws as {@link validateSpec}. */
export function validatePooled<Options extends object>(command: readonly string[], options: Options): Options {
  return checkInput(pooledSchema, { ...options, command }) as Options;
}

const poolSchema = v.strictObject({
  size: v.optional(integer(1, 10_000)),
  template: v.optional(v.looseObject({}, 'an object')),
  reset: v.optional(v.literal('discard', "'discard'")),
  maxWaiting: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
});

/** What a pooled command says itself, what belongs to containers that live on, and what needs a process of its own. */
const notInTemplates: Readonly<Record<string, string>> = {
  command: 'Give it to run()',
  stdin: 'Give it to run()',
  timeout: 'Give it to run()',
  maxOutput: 'Give it to run()',
  name: 'Each sandbox has an id',
  tty: 'Use a container',
  restart: 'A sandbox runs one command, once',
  health: 'A sandbox runs one command, once',
  cgroupAccess: 'Use a container',
  wait: 'A sandbox runs one command, once',
  log: 'Its output is in the result of run()',
  lifetime: 'Sandboxes die with the pool',
  stopSignal: 'Nobody asks a sandbox to end: kill() of what run() returns takes a signal',
};

/** What one sandbox wrote would be there for the next, and two overlays may not have one upper directory (overlayfs(5)). */
function checkPooledWrites({ writable, rootfs }: Readonly<Record<string, unknown>>): void {
  const layered = isPlainObject(rootfs) ? (rootfs as { writable?: unknown }).writable : undefined;
  for (const [field, chosen] of [
    ['template.writable', writable],
    ['template.rootfs.writable', layered],
  ] as const)
    if (isPlainObject(chosen) && ('dir' in chosen || 'upper' in chosen))
      throw new SpecError(
        field,
        'no directory',
        chosen,
        "All sandboxes would share it: give 'tmpfs', or a size for one",
      );
}

/** A sandbox waits as its program will be, and what to run comes to it with a descriptor. */
function checkPooledFiles({ nofile }: Readonly<Record<string, unknown>>): void {
  const soft = isPlainObject(nofile) ? (nofile as { soft?: unknown }).soft : nofile;
  if (typeof soft === 'number' && soft < LEAST_POOLED_FILES)
    throw new SpecError('template.rlimits.nofile', `${LEAST_POOLED_FILES} or more`, soft, 'Use run(), or a container');
}

const LEAST_POOLED_FILES = 64;

/** Checks options of a pool; of the template the specification made from it is checked. Throws as {@link validateSpec}. */
export function validatePoolOptions<Options extends object>(options: Options): Options {
  const valid = checkInput(poolSchema, options) as Options & { readonly template?: Readonly<Record<string, unknown>> };
  for (const [field, hint] of Object.entries(notInTemplates)) {
    const received = valid.template?.[field];
    if (received !== undefined) throw new SpecError(`template.${field}`, 'nothing', received, hint);
  }
  checkPooledWrites(valid.template ?? {});
  checkPooledFiles({ ...(valid.template?.ulimits as object), ...(valid.template?.rlimits as object) });
  if (valid.template?.network === 'user') {
    throw new SpecError(
      'template.network',
      'a network that needs no process of its own',
      'user',
      'Give a bridge network, or run without a pool',
    );
  }
  return valid;
}
