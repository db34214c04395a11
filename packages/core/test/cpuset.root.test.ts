import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Which cpus a container runs on once they were changed, by what the kernel says of its processes. */

const test = needs(
  notRoot ??
    (detectCgroups().controllers.has('cpuset') ? undefined : 'no cpuset controller') ??
    (availableParallelism() < 2 ? 'one cpu only' : undefined),
);
useOwnStateRoot();

const cpusOf = (pid: number) => /Cpus_allowed_list:\t(.*)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];

async function cpusSeen(container: Container): Promise<string> {
  const { stdout } = await container.exec('grep', ['Cpus_allowed_list', '/proc/self/status']);
  return stdout.trim().split('\t')[1]!;
}

describe.each([
  ['with cpus from the beginning', { limits: { cpusetCpus: '0-1', cpusetMems: '0' } }],
  ['without', {}],
])('%s', (_, spec) => {
  test('all of it is on other cpus from when they are changed', async () => {
    await using container = await Container.create({ command: ['sleep', 'infinity'], ...spec });
    await container.update({ limits: { cpusetCpus: '0' } });
    expect(cpusOf(container.pid!)).toBe('0');
    await container.start();
    await using found = await Container.get(container.id);
    const running = container.exec('sleep', ['infinity']);
    const programs = async () => (await container.processes()).map(({ hostPid }) => cpusOf(hostPid));
    for (const [index, cpus] of ['1', '0-1', '0'].entries()) {
      // What the next command would be put into is there by now.
      expect(await cpusSeen(container)).toBe(['0', '1', '0-1'][index]);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await (index % 2 ? found : container).update({ limits: { cpusetCpus: cpus, cpusetMems: '0' } });
      const all = await programs();
      expect(all.length).toBeGreaterThanOrEqual(2);
      expect(all).toEqual(all.map(() => cpus));
      expect([await cpusSeen(container), await cpusSeen(found)]).toEqual([cpus, cpus]);
    }
    await container.pause();
    await container.update({ limits: { cpusetCpus: '1' } });
    await container.resume();
    expect([...new Set(await programs())]).toEqual(['1']);
    expect(await cpusSeen(container)).toBe('1');
    running.kill('SIGKILL');
    await running;
    await container.restart();
    expect(cpusOf(container.pid!)).toBe('1');
  });
});
