import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Cgroup, detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

const machine = detectCgroups();
const name = `birth-${process.pid}`;

needs(notRoot)('the plan for a birth names the v2 directory once and the v1 files', async () => {
  await using cg = await Cgroup.create(name, { pids: { max: 5 }, memory: { max: '64MiB' } });
  using plan = cg.joinPlan();
  const files = [
    ...(machine.unified ? [cg.paths[0]] : []),
    ...plan.procs.map((file) => file.replace('/cgroup.procs', '')),
  ];
  expect([...files].sort()).toEqual([...cg.paths].sort());
  expect(plan.cloneInto === undefined).toBe(machine.unified === undefined);
});

// clone3 with CLONE_INTO_CGROUP of the directory on fd 3; the child writes where it is.
const cloneInto = `
  my $args = pack('Q11', 1 << 33, 0, 0, 0, 17, 0, 0, 0, 0, 0, 3);
  my $pid = syscall(435, $args, 88);
  die "clone3: $!" if $pid < 0;
  if ($pid == 0) { exec 'cat', '/proc/self/cgroup' }
  waitpid($pid, 0);
`;

needs(notRoot ?? (machine.unified ? undefined : 'no cgroup v2 tree'))(
  'a process is born in the v2 directory',
  async () => {
    await using cg = await Cgroup.create(name, { pids: { max: 5 } });
    using plan = cg.joinPlan();
    const child = spawn('perl', ['-e', cloneInto], { stdio: ['ignore', 'pipe', 'inherit', plan.cloneInto!.fd] });
    let text = '';
    child.stdout!.on('data', (data: Buffer) => {
      text += data.toString();
    });
    await once(child, 'close');
    expect(text).toContain(`0::/ns/${name}\n`);
  },
);

needs(notRoot)('a process that writes 0 to each file is in every tree from its first instruction', async () => {
  await using cg = await Cgroup.create(name, { pids: { max: 5 }, memory: { max: '64MiB' } });
  using plan = cg.joinPlan();
  const files = [...plan.procs, ...(plan.cloneInto ? [`${cg.paths[0]}/cgroup.procs`] : [])];
  const script = `${files.map((file) => `echo 0 > ${file}`).join(' && ')} && read line`;
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'inherit'] });
  while ((await cg.processes()).length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const membership = readFileSync(`/proc/${child.pid}/cgroup`, 'utf8');
  expect(membership.split('\n').filter((line) => line.endsWith(`/ns/${name}`)).length).toBe(cg.paths.length);
  child.stdin!.end('\n');
  await once(child, 'exit');
});
