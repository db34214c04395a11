import { rollBack } from '@ns/libc';
import type { ContainerLife } from './container-life.ts';
import { assertFree } from './container-names.ts';
import { readState } from './container-state.ts';
import { nameOnNetworks, unnameOnNetworks } from './network/rename-on-networks.ts';

/**
 * Gives a container another name, here and on its networks. These learn the new one last, and unlearn the one before first: a
 * process that is killed in between leaves none that knows it by a name which may be another's by now.
 */
export async function renameContainer(life: ContainerLife, name: string): Promise<void> {
  life.assertHeld('rename it');
  assertFree(name, life.id);
  try {
    if (readState(life.id)?.name !== name) await unnameOnNetworks(life.id);
    life.rename(name);
  } catch (error) {
    throw await rollBack(error, () => nameOnNetworks(life.id));
  }
  await nameOnNetworks(life.id);
}
