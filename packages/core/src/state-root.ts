import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where state lives that outlives a process: `NS_STATE_ROOT`, `/run/ns` as root, `$XDG_RUNTIME_DIR/ns` otherwise. */
export function stateRoot(): string {
  const { NS_STATE_ROOT, XDG_RUNTIME_DIR } = process.env;
  if (NS_STATE_ROOT) return NS_STATE_ROOT;
  return process.geteuid!() === 0 ? '/run/ns' : join(XDG_RUNTIME_DIR ?? `/run/user/${process.geteuid!()}`, 'ns');
}

/** A directory of the state root, for its owner's eyes only. */
export function stateDirectory(...names: string[]): string {
  const directory = join(stateRoot(), ...names);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // An existing directory keeps its mode: it may have been made with another umask.
  chmodSync(directory, 0o700);
  return directory;
}
