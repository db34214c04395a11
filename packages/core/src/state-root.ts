import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileCall } from '@ns/libc';

/** Where state lives that outlives a process: `NS_STATE_ROOT`, `/run/ns` as root, `$XDG_RUNTIME_DIR/ns` otherwise. */
export function stateRoot(): string {
  const { NS_STATE_ROOT } = process.env;
  if (NS_STATE_ROOT) return NS_STATE_ROOT;
  const uid = process.geteuid!();
  return uid === 0 ? '/run/ns' : join(process.env.XDG_RUNTIME_DIR ?? `/run/user/${uid}`, 'ns');
}

/** The directory of a container: it exists from its making to its removal, by whomever. */
export function containerDirectory(id: string): string {
  return join(stateRoot(), 'containers', id);
}

/** A directory of the state root, for its owner's eyes only. */
export function stateDirectory(...names: string[]): string {
  const directory = join(stateRoot(), ...names);
  fileCall(directory, () => mkdirSync(directory, { recursive: true, mode: 0o700 }));
  // An existing directory keeps its mode: it may have been made with another umask.
  chmodSync(directory, 0o700);
  return directory;
}
