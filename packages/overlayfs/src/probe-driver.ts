import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RootDirectory } from './root-directory.ts';
import type { StorageDriver } from './storage-driver.ts';

/** Makes, mounts and removes a root of one empty layer: only that shows that all of it works here. */
export async function probeDriver(driver: StorageDriver, home: RootDirectory): Promise<string | undefined> {
  const id = `probe-${randomBytes(6).toString('hex')}`;
  const layer = join(home.path, `${id}.layer`);
  try {
    await mkdir(layer, { recursive: true });
    const root = await driver.create(id, { layers: [layer] });
    try {
      (await root.mount()).close();
    } finally {
      await root.remove();
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await rm(layer, { recursive: true, force: true });
  }
}
