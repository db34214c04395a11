import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ContainerProcess, run } from '@ns/core';
import type { Benchmark } from './benchmark.ts';
import { median } from './percentiles.ts';

const CONTAINERS = 20;

/** Memory of an idle container besides its payload: monitor and init. */
export const benchmark: Benchmark = {
  title: 'Memory of an idle container',
  async run() {
    const processes = Array.from({ length: CONTAINERS }, () => run('/bin/sleep', ['60'], { stdin: 'null' }));
    try {
      await Promise.all(processes.map(({ started }) => started));
      await sleep(200);
      const kibibytes = { monitor: [] as number[], init: [] as number[], payload: [] as number[] };
      for (const process of processes) {
        const [monitor, init, payload] = family(process);
        kibibytes.monitor.push(pssKiB(monitor));
        kibibytes.init.push(pssKiB(init));
        kibibytes.payload.push(pssKiB(payload));
      }
      const beyond = median(kibibytes.monitor) + median(kibibytes.init);
      return {
        tables: [
          {
            title: `KiB of proportional set size (PSS), median of ${CONTAINERS} containers`,
            columns: [{ label: 'process' }, { label: 'KiB', decimals: 0 }],
            rows: Object.entries(kibibytes).map(([name, samples]) => [name, median(samples)]),
          },
        ],
        targets: [{ what: 'monitor and init of an idle container, KiB', limit: 100, measured: beyond }],
        notes: ['The payload is /bin/sleep. Memory the kernel uses for namespaces is not in these figures.'],
      };
    } finally {
      for (const process of processes) process.kill('SIGKILL');
      await Promise.all(processes);
    }
  },
};

/** Monitor, init and payload. */
function family({ pid: init }: ContainerProcess): [number, number, number] {
  const monitor = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))![1]);
  const payload = readdirSync(`/proc/${init}/task`).map((task) =>
    readFileSync(`/proc/${init}/task/${task}/children`, 'utf8'),
  );
  return [monitor, init!, Number(payload.join(' ').trim().split(' ')[0])];
}

function pssKiB(pid: number): number {
  return Number(/^Pss:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]);
}
