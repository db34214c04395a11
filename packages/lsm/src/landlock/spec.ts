import { onlyKnownKeys, SpecError } from '@ns/libc';
import {
  fileRights,
  fileRightsOf,
  type LandlockFileRight,
  type LandlockScope,
  loggingFlags,
  scopes,
} from './rights.ts';

/** Which files may be used, and how. What no list allows is refused. A path stands for everything below it. */
export interface LandlockFiles {
  /** Files are read, directories listed. */
  readonly readOnly?: readonly string[];
  /** Programs are executed, and read. */
  readonly execute?: readonly string[];
  /** Read, write, truncate, create, remove, rename and link. Not device nodes, not execution. */
  readonly readWrite?: readonly string[];
  /** Devices are read, written and controlled by ioctl(2). */
  readonly devices?: readonly string[];
  /** Exact rights, in the kernel's names. */
  readonly rules?: readonly { readonly paths: readonly string[]; readonly allow: readonly LandlockFileRight[] }[];
  /** What to do about a path that does not exist. Default `'refuse'`: a misspelt path should not be found out in production. */
  readonly missingPaths?: 'refuse' | 'skip';
}

/** Which TCP ports may be used. What is not listed is refused. UDP and other protocols are not restricted by Landlock. */
export interface LandlockNetwork {
  /** Ports that connect(2) may go to. */
  readonly connect?: readonly number[];
  /** Ports that bind(2) may take; 0 stands for a port that the kernel chooses. */
  readonly bind?: readonly number[];
}

/** What the kernel writes to the audit log about refusals. Since Linux 6.15. */
export interface LandlockLogging {
  /** Refusals of the process that restricts itself, until it executes another program. Default true. */
  readonly sameExec?: boolean;
  /** Refusals of programs executed after that. Default false. */
  readonly newExec?: boolean;
  /** Refusals by restrictions that the program puts on itself. Default true. */
  readonly subdomains?: boolean;
}

/** What a process may still do. A field that is absent restricts nothing; one that is there refuses all it does not allow. */
export interface LandlockSpec {
  /** Since Linux 5.13. */
  readonly files?: LandlockFiles;
  /** Since Linux 6.7. */
  readonly network?: LandlockNetwork;
  /** Processes outside are out of reach: their abstract UNIX sockets, signals to them. Since Linux 6.12. */
  readonly scopes?: readonly LandlockScope[];
  /** Since Linux 6.15. Default: as {@link LandlockLogging} says. */
  readonly logging?: LandlockLogging;
}

/**
 * Checks a spec that may come from anywhere.
 *
 * @param field - where the spec stands, for messages
 * @throws SpecError naming the field that is wrong
 *
 * @example
 * ```ts
 * const spec: unknown = JSON.parse('{"files": {"readOnly": ["/usr"]}}');
 * checkLandlockSpec(spec);
 * using ruleset = LandlockRuleset.create(spec);
 * ```
 */
export function checkLandlockSpec(value: unknown, field = 'landlock'): asserts value is LandlockSpec {
  onlyKnownKeys(value, ['files', 'network', 'scopes', 'logging'], field);
  const { files, network, scopes: named, logging } = value;
  if (files === undefined && network === undefined && named === undefined) {
    throw new SpecError(field, 'at least one of files, network and scopes', value);
  }
  if (files !== undefined) checkFiles(files, `${field}.files`);
  if (network !== undefined) checkNetwork(network, `${field}.network`);
  if (named !== undefined) checkNames(named, Object.keys(scopes), `${field}.scopes`);
  if (logging !== undefined) checkLogging(logging, `${field}.logging`);
}

function checkFiles(value: unknown, field: string): void {
  const lists = Object.keys(fileRightsOf);
  onlyKnownKeys(value, [...lists, 'rules', 'missingPaths'], field);
  for (const list of lists) if (value[list] !== undefined) checkPaths(value[list], `${field}.${list}`);
  const { rules = [], missingPaths } = value;
  if (missingPaths !== undefined && missingPaths !== 'refuse' && missingPaths !== 'skip') {
    throw new SpecError(`${field}.missingPaths`, "'refuse' or 'skip'", missingPaths);
  }
  for (const [index, rule] of arrayOf(rules, `${field}.rules`).entries()) {
    const place = `${field}.rules[${index}]`;
    onlyKnownKeys(rule, ['paths', 'allow'], place);
    checkPaths(rule.paths, `${place}.paths`);
    checkNames(rule.allow, Object.keys(fileRights), `${place}.allow`);
    if ((rule.allow as unknown[]).length === 0) throw new SpecError(`${place}.allow`, 'at least one right', rule.allow);
  }
}

function checkPaths(value: unknown, field: string): void {
  for (const [index, path] of arrayOf(value, field).entries()) {
    if (typeof path !== 'string' || !path.startsWith('/') || path.includes('\0')) {
      throw new SpecError(`${field}[${index}]`, 'an absolute path', path);
    }
  }
}

function checkNetwork(value: unknown, field: string): void {
  onlyKnownKeys(value, ['connect', 'bind'], field);
  for (const [list, lowest] of [
    ['connect', 1],
    ['bind', 0],
  ] as const) {
    for (const [index, port] of arrayOf(value[list] ?? [], `${field}.${list}`).entries()) {
      if (typeof port !== 'number' || !Number.isInteger(port) || port < lowest || port > 65535) {
        throw new SpecError(`${field}.${list}[${index}]`, `a port from ${lowest} to 65535`, port);
      }
    }
  }
}

function checkLogging(value: unknown, field: string): void {
  onlyKnownKeys(value, Object.keys(loggingFlags), field);
  for (const [key, wanted] of Object.entries(value)) {
    if (wanted !== undefined && typeof wanted !== 'boolean')
      throw new SpecError(`${field}.${key}`, 'true or false', wanted);
  }
}

function checkNames(value: unknown, names: readonly string[], field: string): void {
  for (const [index, name] of arrayOf(value, field).entries()) {
    if (typeof name !== 'string' || !names.includes(name)) {
      throw new SpecError(`${field}[${index}]`, `one of ${names.join(', ')}`, name);
    }
  }
}

function arrayOf(value: unknown, field: string): unknown[] {
  if (!Array.isArray(value)) throw new SpecError(field, 'an array', value);
  return value;
}
