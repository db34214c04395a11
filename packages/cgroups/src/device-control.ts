import { UnavailableError } from '@ns/libc';
import type { Absence } from './change.ts';
import { attachDeviceProgram, detachDeviceProgram, loadDeviceProgram } from './device-bpf.ts';
import { deviceListWrites } from './device-list.ts';
import type { FullDeviceRule } from './device-policy.ts';
import { deviceProgram } from './device-program.ts';
import type { Directories } from './directories.ts';
import type { CgroupDirectory } from './directory.ts';

/**
 * Sets which device nodes processes of the cgroup may use.
 *
 * @returns why it cannot be done here, `undefined` when it was
 */
export function applyDeviceRules(directories: Directories, rules: readonly FullDeviceRule[]): Absence | undefined {
  const controller = directories.of('devices');
  if (controller) {
    for (const { file, value } of deviceListWrites(rules)) controller.write(file, value);
    return undefined;
  }
  const { unified } = directories;
  if (!unified) return { why: 'there is neither the v1 devices controller nor a v2 tree', fix: 'Mount one of them' };
  try {
    replaceProgram(unified, deviceProgram(rules));
    return undefined;
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return { why: error.message, ...(error.hint === undefined ? {} : { fix: error.hint }) };
  }
}

/** The new one is attached before the old one goes: for a moment both must allow, never neither. */
function replaceProgram(directory: CgroupDirectory, program: Buffer): void {
  const next = loadDeviceProgram(program);
  try {
    attachDeviceProgram(directory.fd, next);
  } catch (error) {
    next.close();
    throw error;
  }
  const previous = directory.deviceProgram;
  directory.deviceProgram = next;
  if (!previous) return;
  detachDeviceProgram(directory.fd, previous);
  previous.close();
}
