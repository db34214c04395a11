import { FSCONFIG, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import type { Label, Slot } from '../program.ts';

/** fsopen, fsconfig, fsmount: a detached mount in `store`. */
export function newMount(
  { asm }: Lowering,
  type: string,
  options: Readonly<Record<string, string | true>> | readonly (readonly [string, string | true])[],
  attributes: number,
  store: Slot,
  failure: { tolerate?: readonly string[]; otherwise?: Label } = {},
): void {
  const context = asm.slot();
  asm.call('fsopen', [asm.string(type), FSOPEN_CLOEXEC], { ...failure, store: context });
  for (const [key, value] of Array.isArray(options) ? options : Object.entries(options)) {
    if (value === true) asm.call('fsconfig', [context, FSCONFIG.SET_FLAG, asm.string(key), 0, 0], failure);
    else asm.call('fsconfig', [context, FSCONFIG.SET_STRING, asm.string(key), asm.string(value), 0], failure);
  }
  asm.call('fsconfig', [context, FSCONFIG.CMD_CREATE, 0, 0, 0], failure);
  asm.call('fsmount', [context, FSMOUNT_CLOEXEC, attributes], { ...failure, store });
  asm.call('close', [context]);
}
