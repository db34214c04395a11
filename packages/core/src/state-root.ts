import { join } from 'node:path';
import { stateDirectory as makeStateDirectory, stateRoot } from '@ns/libc';

/** The directory of a container: it exists from its making to its removal, by whomever. */
export function containerDirectory(id: string): string {
  return join(stateRoot(), 'containers', id);
}

/** A directory of the state root, made when it is missing. */
export function stateDirectory(...names: string[]): string {
  return makeStateDirectory(stateRoot(), ...names);
}
