import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Cgroup, detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* Which cpus what is in a cgroup runs on, by what the kernel says of its processes. */

const machine = detectCgroups();
const version = machine.controllers.get('cpuset')?.version;
const missing =
  notRoot ??
  (version === undefined ? 'no cpuset controller' : undefined) ??
  (availableParallelism() < 2 ? 'one cpu only' : undefined);
const test = needs(missing);
const v1Test = needs(missing ?? (version === 1 ? undefined : 'a cgroup v2 host: cpusets follow by themselves'));
const name = `cpuset-${process.pid}`;
const account = ['cpuset'] as const;

/** A program that is killed at the end of the test. */
function start(command: string, ...args: string[]): Disposable & { readonly pid: number } {
  const child = spawn(command, args, { stdio: 'ignore' });
  return { pid: child.pid!, [Symbol.dispose]: () => child.kill('SIGKILL') };
}

async function inside(cgroup: Cgroup): Promise<number> {
  const { pid } = start('sleep', '600');
  await cgroup.add(pid);
  return pid;
}

const cpusOf = (pid: number) => /Cpus_allowed_list:\t(.*)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];

test('what is below goes along, to other cpus, to fewer and to more', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0-1', mems: '0' } });
  await using child = await cg.createChild('child', {}, { account });
  await using grandchild = await child.createChild('grandchild', {}, { account });
  const pids = [await inside(grandchild)];
  if (version === 1) pids.push(await inside(child), await inside(cg));
  for (const cpus of ['0', '1', '0-1', '1', '1']) {
    await cg.update({ cpuset: { cpus, mems: '0' } });
    expect(pids.map(cpusOf)).toEqual(pids.map(() => cpus));
    await using later = await cg.createChild('later', {}, { account });
    expect(cpusOf(await inside(later))).toBe(cpus);
  }
});

test('one that was given fewer keeps to them, whenever they are among those of its parent', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0-1' } });
  await using child = await cg.createChild('child', { cpuset: { cpus: '0' } }, { account });
  const pid = await inside(child);
  const seen: unknown[] = [];
  for (const cpus of ['1', '0-1', '0', '0-1']) {
    await cg.update({ cpuset: { cpus } });
    seen.push(cpusOf(pid));
  }
  expect(seen).toEqual(['1', '0', '0', '0']);
});

v1Test('an update that ended half way is done by the next one', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0' } });
  await using child = await cg.createChild('child', {}, { account });
  const pid = await inside(child);
  writeFileSync(`${cg.pathOf('cpuset')}/cpuset.cpus`, '0-1');
  await cg.update({ cpuset: { cpus: '0-1' } });
  expect(cpusOf(pid)).toBe('0-1');
});

v1Test('those that the container has made in it itself are no obstacle', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0-1', mems: '0' } });
  const own = `${cg.pathOf('cpuset')}/its/own`;
  mkdirSync(own, { recursive: true });
  for (const path of [`${own}/..`, own])
    for (const [file, list] of [
      ['cpus', '0-1'],
      ['mems', '0'],
    ] as const)
      writeFileSync(`${path}/cpuset.${file}`, list);
  using program = start('sleep', '600');
  writeFileSync(`${own}/cgroup.procs`, String(program.pid));
  await cg.update({ cpuset: { cpus: '1' } });
  expect(cpusOf(program.pid)).toBe('1');
});

v1Test('whoever makes others in it meanwhile is waited for', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0-1' } });
  const path = cg.pathOf('cpuset')!;
  const script = 'i=0; while mkdir $0/c$i; do cat $0/cpuset.cpus > $0/c$i/cpuset.cpus; i=$((i+1)); done';
  using _ = start('sh', '-c', script, path);
  for (let round = 0; round < 20; round++) {
    const cpus = ['0', '1', '0-1'][round % 3]!;
    await cg.update({ cpuset: { cpus } });
    expect(readFileSync(`${path}/cpuset.cpus`, 'utf8')).toBe(`${cpus}\n`);
  }
});

test('what the kernel refuses changes nothing, and is refused in the words of whoever asked', async () => {
  await using cg = await Cgroup.create(name, { cpuset: { cpus: '0-1' } });
  await using child = await cg.createChild('child', {}, { account });
  const pid = await inside(child);
  await expect(cg.update({ cpuset: { cpus: '1,4000' } })).rejects.toMatchObject({ args: { value: '1,4000' } });
  expect(cpusOf(pid)).toBe('0-1');
});
