import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Benchmark } from './benchmark.ts';
import { floorCommand } from './contenders.ts';

/** What the C floor and the library ask of the kernel: the floor is honest as long as these agree. */
export const benchmark: Benchmark = {
  title: 'System calls of one start',
  async run() {
    const script = `import { run } from '${import.meta.resolve('@ns/core')}'; await run('/bin/true');`;
    const floor = countCalls(floorCommand(['/bin/true']));
    const ours = countCalls([process.execPath, '--input-type=module', '-e', script]);
    const total = (calls: ReadonlyMap<string, number>) => [...calls.values()].reduce((a, b) => a + b, 0);
    const names = [...new Set([...floor.keys(), ...ours.keys()])].sort();
    const rows = names.map((name) => [name, floor.get(name) ?? 0, ours.get(name) ?? 0] as const);
    return {
      tables: [
        {
          title: 'Monitor, init and payload up to its execve: all, and where the two differ',
          columns: [{ label: '' }, { label: 'C floor', decimals: 0 }, { label: 'run()', decimals: 0 }],
          rows: [['all', total(floor), total(ours)], ...rows.filter(([, a, b]) => a !== b)],
        },
      ],
      notes: ['Counted by strace. Calls of Node itself, and of libc when the floor starts, are not among them.'],
    };
  },
};

/** Calls by name of the process that clones into namespaces, and of its descendants until they become the command. */
function countCalls(command: readonly string[]): Map<string, number> {
  const directory = mkdtempSync(join(tmpdir(), 'ns-bench-calls-'));
  try {
    execFileSync('strace', ['-ff', '-qq', '-o', join(directory, 'trace'), ...command], { stdio: 'ignore' });
    const traces = readdirSync(directory).map((name) => readFileSync(join(directory, name), 'utf8').split('\n'));
    const counts = new Map<string, number>();
    for (const trace of traces) {
      // The monitor is known by its first own call, the others by theirs.
      const first = trace.findIndex((line) => /^prctl\(PR_SET_PDEATHSIG|^setsid\(/.test(line));
      if (first < 0 || !trace.some((line) => line.includes('clone3(') || line.includes('PR_CAPBSET_DROP'))) continue;
      for (const line of trace.slice(first)) {
        const name = /^(\w+)\(/.exec(line)?.[1];
        if (!name) continue;
        counts.set(name, (counts.get(name) ?? 0) + 1);
        if (name === 'execve') break;
      }
    }
    return counts;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
