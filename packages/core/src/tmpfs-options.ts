import { nearest, SpecError } from '@ns/libc';

/* tmpfs(5), include/linux/fs_parser.h. The kernel says EINVAL of all that is wrong, and not of which option. */

/** A flag, or how its value is written. */
type Format = 'flag' | RegExp;

const bytes = /^\d+[kmgtpe]?$/i;
const id = /^\d+$/;
const label = /./;

const formats: Readonly<Record<string, Format>> = {
  size: /^\d+([kmgtpe]|%)?$/i,
  nr_blocks: bytes,
  nr_inodes: bytes,
  mode: /^[0-7]{1,5}$/,
  uid: id,
  gid: id,
  huge: /^(never|always|within_size|advise|deny|force)$/,
  mpol: /./,
  inode32: 'flag', // since 5.9
  inode64: 'flag',
  noswap: 'flag', // since 6.4
  quota: 'flag', // since 6.6
  usrquota: 'flag',
  grpquota: 'flag',
  usrquota_block_hardlimit: bytes,
  usrquota_inode_hardlimit: bytes,
  grpquota_block_hardlimit: bytes,
  grpquota_inode_hardlimit: bytes,
  casefold: /^(utf8-\d+\.\d+\.\d+)?$/, // since 6.13
  strict_encoding: 'flag',
  context: label,
  fscontext: label,
  defcontext: label,
  rootcontext: label,
};

/**
 * Checks what is given to the kernel for a tmpfs.
 *
 * @throws SpecError which option is none, or has a value that it cannot have
 */
export function checkTmpfsOptions(
  data: readonly (readonly [name: string, value: string | true])[],
  field: string,
): void {
  for (const [name, value] of data) {
    const format = Object.hasOwn(formats, name) ? formats[name]! : undefined;
    const option = value === true ? name : `${name}=${value}`;
    if (!format) {
      const meant = nearest(name, Object.keys(formats));
      const hint = meant ? `Did you mean '${meant}'?` : `Known here: ${Object.keys(formats).join(', ')}`;
      throw new SpecError(field, 'options of a tmpfs', option, hint);
    }
    const isRight = format === 'flag' ? value === true : format.test(value === true ? '' : value);
    if (!isRight)
      throw new SpecError(
        field,
        format === 'flag' ? `${name} without a value` : `a value for ${name} as in tmpfs(5)`,
        option,
      );
  }
}
