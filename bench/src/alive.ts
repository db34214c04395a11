import { readFileSync } from 'node:fs';
import { run } from '@ns/core';
import type { Benchmark } from './benchmark.ts';

const CONTAINERS = 1000;

/** A thousand containers that live at the same time. */
export const benchmark: Benchmark = {
  title: `${CONTAINERS} containers alive at once`,
  async run() {
    const before = availableMiB();
    const begin = performance.now();
    const processes = Array.from({ length: CONTAINERS }, () => run('/bin/sleep', ['600'], { stdin: 'null' }));
    const ends = Promise.all(processes);
    await Promise.all(processes.map(({ started }) => started));
    const up = performance.now();
    const used = before - availableMiB();
    for (const process of processes) process.kill('SIGKILL');
    await ends;
    const down = performance.now();
    return {
      tables: [
        {
          title: 'Together',
          columns: [
            { label: 'all started, s' },
            { label: 'all removed, s' },
            { label: 'KiB of memory each, kernel and payload included', decimals: 0 },
          ],
          rows: [[(up - begin) / 1000, (down - up) / 1000, (used * 1024) / CONTAINERS]],
        },
      ],
      notes: ['Each runs /bin/sleep. Memory is the change of MemAvailable.'],
    };
  },
};

function availableMiB(): number {
  return Number(/^MemAvailable:\s*(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]) / 1024;
}
