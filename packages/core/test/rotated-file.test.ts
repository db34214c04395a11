import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { RotatedFile } from '../src/rotated-file.ts';

const maxFiles = 150;

/** Writes numbers, each into a file of its own that all before it make way for. */
const rotating = `
  const { existsSync, renameSync, writeFileSync } = require('node:fs');
  const { parentPort, workerData: { path, maxFiles } } = require('node:worker_threads');
  const nth = (index) => (index === 0 ? path : path + '.' + index);
  writeFileSync(path, '0');
  parentPort.postMessage('begun');
  for (let number = 1; number < maxFiles; number++) {
    for (let index = number; index > 0; index--) renameSync(nth(index - 1), nth(index));
    writeFileSync(path + '.next', String(number));
    renameSync(path + '.next', path);
  }
`;

test('the oldest file is the first, however fast the others make way', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'core-rotated-'));
  try {
    for (let round = 0; round < 5; round++) {
      const path = join(directory, `${round}`);
      const worker = new Worker(rotating, { eval: true, workerData: { path, maxFiles } });
      let isRotating = true;
      const ended = once(worker, 'exit').then(() => {
        isRotating = false;
      });
      try {
        await once(worker, 'message');
        for (; isRotating; await new Promise(setImmediate)) {
          using file = new RotatedFile(path, maxFiles, 'oldest');
          expect(file.read(10)?.toString()).toBe('0');
        }
      } finally {
        await worker.terminate();
        await ended;
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
