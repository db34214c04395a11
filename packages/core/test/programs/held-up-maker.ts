import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { Container } from '@ns/core';

/* Makes a container, and is held up between its directory and its state. Says so before it writes anything else. */

const { writeFileSync } = fs;
fs.writeFileSync = (...args) => {
  writeFileSync(...args);
  if (!String(args[0]).includes('state.json')) return;
  fs.writeSync(1, 'held up');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
};
syncBuiltinESMExports();
await Container.create({ command: ['true'] });
