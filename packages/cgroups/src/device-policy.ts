import { onlyKnownKeys, SpecError } from '@ns/libc';
import { flag, integer } from './change.ts';

/** One rule about device nodes. Rules are read in order, the last that fits decides; what no rule speaks of is denied. */
export interface DeviceRule {
  readonly allow: boolean;
  /** `a`: both kinds. Default `a`. */
  readonly type?: 'a' | 'b' | 'c';
  /** Default: every one. */
  readonly major?: number | '*';
  readonly minor?: number | '*';
  /** Any of `r` (read), `w` (write), `m` (mknod). Default `rwm`. */
  readonly access?: string;
}

/** A rule with everything said. */
export type FullDeviceRule = Required<DeviceRule>;

// The kernel numbers devices with 12 bits of major and 20 of minor.
const major = integer(0, 2 ** 12 - 1);
const minor = integer(0, 2 ** 20 - 1);

/** Checks rules and fills in what they leave out. */
export function parseDeviceRules(rules: unknown, field: string): readonly FullDeviceRule[] {
  if (!Array.isArray(rules)) throw new SpecError(field, 'an array of device rules', rules);
  return rules.map((rule: unknown, index) => {
    const at = `${field}[${index}]`;
    onlyKnownKeys(rule, ['allow', 'type', 'major', 'minor', 'access'], at);
    const type = rule.type ?? 'a';
    if (type !== 'a' && type !== 'b' && type !== 'c') throw new SpecError(`${at}.type`, "'a', 'b' or 'c'", type);
    const access = rule.access ?? 'rwm';
    if (typeof access !== 'string' || !/^(?!.*(.).*\1)[rwm]{1,3}$/.test(access)) {
      throw new SpecError(`${at}.access`, "letters out of 'rwm'", access);
    }
    return {
      allow: flag(rule.allow, `${at}.allow`),
      type,
      major: rule.major === undefined || rule.major === '*' ? '*' : major(rule.major, `${at}.major`),
      minor: rule.minor === undefined || rule.minor === '*' ? '*' : minor(rule.minor, `${at}.minor`),
      access,
    };
  });
}

const character = (majorNumber: number, minorNumber: number | '*'): DeviceRule => ({
  allow: true,
  type: 'c',
  major: majorNumber,
  minor: minorNumber,
});

/**
 * What Docker and the OCI runtimes allow: making any node, using null, zero, full, random, urandom, tty, console, ptmx
 * and pseudo terminals.
 */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  character(1, 3),
  character(1, 5),
  character(1, 7),
  character(1, 8),
  character(1, 9),
  character(5, 0),
  character(5, 1),
  character(5, 2),
  character(136, '*'),
];
