import { posix } from 'node:path';
import { types } from 'node:util';
import { onlyKnownKeys, SpecError } from '@ns/libc';
import * as v from 'valibot';
import { absolutePath, boolean, dictionary, integer, isPlainObject, size, text } from './field-schemas.ts';
import type { VolumeOptions } from './volume.ts';

/* Schemas of what is mounted besides the root. */

const mode = integer(0, 0o7777);
const id = integer(0, 2 ** 32 - 2);
const options = v.array(v.pipe(text('a mount option'), v.minLength(1, 'a mount option')), 'an array of mount options');
const owner = v.picklist(['keep', 'container'], "'keep' or 'container'");
const propagation = v.picklist(
  ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared', 'unbindable', 'runbindable'],
  "a propagation such as 'rslave'",
);
// Docker's rule.
const volumeName = v.pipe(
  text('the name of a volume'),
  v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, 'a name of letters, digits, _ . -, at most 128'),
);

// What a program reads under /proc must be the kernel's: CVE-2019-16884, CVE-2019-19921. These few are what LXCFS gives.
const replaceableInProc = /^\/proc\/(cpuinfo|diskstats|meminfo|stat|swaps|uptime|loadavg|slabinfo)$/;

/** Where something may be mounted. */
const mountTarget = v.pipe(
  absolutePath,
  v.check((value) => posix.normalize(value) !== '/', 'a path below /'),
  v.check((value) => {
    const path = posix.normalize(value).replace(/\/$/, '');
    return (path !== '/proc' && !path.startsWith('/proc/')) || replaceableInProc.test(path);
  }, 'a path outside /proc'),
);

const shapesOfMount =
  "a mount: { source, target, … }, { type: 'volume', source, target, … }, { type: 'tmpfs', target, … } or { type: 'file', target, content }";
const mountSchema: v.GenericSchema<object, { readonly target: string }> = v.pipe(
  v.custom<object>(isPlainObject, shapesOfMount),
  v.variant(
    'type',
    [
      v.strictObject({
        type: v.optional(v.literal('bind')),
        source: absolutePath,
        target: mountTarget,
        readonly: v.optional(boolean),
        propagation: v.optional(propagation),
        recursive: v.optional(boolean),
        owner: v.optional(owner),
        options: v.optional(options),
      }),
      v.strictObject({
        type: v.literal('volume'),
        source: volumeName,
        target: mountTarget,
        readonly: v.optional(boolean),
        owner: v.optional(owner),
        options: v.optional(options),
      }),
      v.strictObject({
        type: v.literal('tmpfs'),
        target: mountTarget,
        size: v.optional(size),
        mode: v.optional(mode),
        readonly: v.optional(boolean),
        options: v.optional(options),
      }),
      v.strictObject({
        type: v.literal('file'),
        target: mountTarget,
        content: v.union(
          [v.string('text'), v.custom<Uint8Array>(types.isUint8Array)],
          'text, a Buffer or a Uint8Array',
        ),
        mode: v.optional(mode),
        uid: v.optional(id),
        gid: v.optional(id),
      }),
    ],
    "'bind' (default), 'volume', 'tmpfs' or 'file'",
  ),
);

/** `mounts`: one below another is in it, but of two in one place nobody would see the first. */
export const mountsSchema: v.GenericSchema = v.pipe(
  v.array(mountSchema, 'an array of mounts'),
  v.rawCheck(({ dataset: { typed, value: mounts }, addIssue }) => {
    if (!typed) return;
    const places = mounts.map(({ target }) => posix.resolve(target));
    const index = places.findIndex((place, i) => places.indexOf(place) < i);
    const mount = mounts[index];
    if (!mount) return;
    addIssue({
      message: 'a path where no other mount is, or leave one of the two out',
      input: mount.target,
      path: [
        { type: 'array', origin: 'value', input: mounts, key: index, value: mount },
        { type: 'object', origin: 'value', input: { ...mount }, key: 'target', value: mount.target },
      ],
    });
  }),
);

/**
 * Checks the options of a volume.
 *
 * @throws SpecError naming the field
 */
export function validateVolume(given: VolumeOptions): VolumeOptions {
  const unchecked: unknown = given;
  onlyKnownKeys(unchecked, ['name', 'labels'], '');
  if (given.name !== undefined && !v.is(volumeName, given.name))
    throw new SpecError('name', 'a name of letters, digits, _ . -, at most 128', given.name);
  if (given.labels !== undefined && !v.is(dictionary(text('a label'), text('a string'), ''), given.labels))
    throw new SpecError('labels', 'an object of strings', given.labels);
  return given;
}
