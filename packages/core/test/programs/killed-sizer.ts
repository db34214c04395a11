import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { createSizedDirectory } from '@ns/overlayfs';

/* Makes a directory of a size and dies before its n-th step, or ends by itself when there are fewer: `killed-sizer DIR BYTES N`. */

const [home, size, step] = process.argv.slice(2) as [string, string, string];
let left = Number(step);
for (const method of ['writeFile', 'rename'] as const) {
  const original = fs.promises[method] as (...args: unknown[]) => Promise<void>;
  Reflect.set(fs.promises, method, (...args: unknown[]) => {
    if (--left === 0) process.kill(process.pid, 'SIGKILL');
    return original(...args);
  });
}
syncBuiltinESMExports();
(await createSizedDirectory(home, Number(size), { methods: ['loop-image'] })).close();
