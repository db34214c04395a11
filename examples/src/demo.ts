// `npm run demo`: starts a sandbox and shows, live, that it is one.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { Container, run } from '@ns/core';

const bold = (text: string) => `\x1b[1m${text}\x1b[0m`;
const dim = (text: string) => `\x1b[2m${text}\x1b[0m`;
const say = (label: string, value: string, note = '') =>
  process.stdout.write(`  ${label.padEnd(14)} ${bold(value)}   ${dim(note)}\n`);
const compare = (label: string, inside: string, host: string) => say(label, inside, `host: ${host}`);
const heading = (text: string) => process.stdout.write(`\n${bold(text)}\n`);

if (process.geteuid?.() !== 0) {
  process.stderr.write('The demo makes network and mount namespaces: run it as root (sudo npm run demo).\n');
  process.exit(1);
}

const secret = `/tmp/ns-demo-${process.pid}`;
const limits = { memory: '64MiB', pids: 32, cpus: 0.5 };

heading('A sandbox with 64 MiB, 32 processes, half a CPU');
const made = performance.now();
const container = await Container.create({ command: ['sleep', 'infinity'], hostname: 'sandbox', limits });
await container.start();
const startedMs = performance.now() - made;

try {
  const inside = async (script: string) => (await container.exec('sh', ['-c', script], { check: true })).stdout.trim();
  const status = await inside('cat /proc/self/status');
  const field = (name: string, text = status) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '?';
  const ownStatus = readFileSync('/proc/self/status', 'utf8');

  compare('pid 1', await inside('cat /proc/1/comm'), readFileSync('/proc/1/comm', 'utf8').trim());
  compare('processes', await inside('ls /proc | grep -c "^[0-9]"'), String(countProcesses()));
  compare('hostname', await inside('cat /proc/sys/kernel/hostname'), hostname());
  compare('mounts', await inside('wc -l < /proc/self/mountinfo'), String(lines('/proc/self/mountinfo')));
  compare(
    'network',
    (await inside("sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev")).replaceAll('\n', ' '),
    interfaces(),
  );
  compare('capabilities', field('CapEff'), field('CapEff', ownStatus));
  compare(
    'seccomp',
    field('Seccomp') === '2' ? 'filtering' : 'off',
    field('Seccomp', ownStatus) === '0' ? 'off' : 'on',
  );
  compare('no_new_privs', field('NoNewPrivs'), field('NoNewPrivs', ownStatus));
  compare('pid namespace', await inside('readlink /proc/self/ns/pid'), readlinkSync('/proc/self/ns/pid'));
  say('/etc/shadow', await inside('cat /etc/shadow 2>&1 | head -1; true'));
  say('mount(2)', await inside('mount -t tmpfs none /mnt 2>&1 | head -1; true'));

  heading('What it wrote, and the host does not have');
  await container.exec('sh', ['-c', `echo hello > ${secret}; rm -rf /usr/share/doc; echo done`], { check: true });
  say('inside', await inside(`cat ${secret}; ls -d /usr/share/doc 2>&1; true`));
  say(
    'on the host',
    existsSync(secret) ? 'LEAKED' : `no ${secret}`,
    `/usr/share/doc ${existsSync('/usr/share/doc') ? 'is there' : 'is gone'}`,
  );

  heading('Limits hold');
  const hog = await run('sh', ['-c', 'tail /dev/zero'], { limits: { memory: '32MiB' } });
  say('memory hog', `reason: ${hog.reason}`, `peak ${((hog.usage.memoryPeakBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`);
  const slow = await run('sleep', ['60'], { timeout: 250 });
  say('sleeper', `reason: ${slow.reason} after ${slow.durationMs.toFixed(0)} ms`);
  const bomb = await run('sh', ['-c', 'for i in $(seq 100); do sleep 5 & done; wait'], {
    limits: { pids: 16 },
    timeout: 2_000,
  });
  say('fork bomb', bomb.stderr.includes('fork') ? 'refused by the pids limit' : 'not refused');

  heading('Figures');
  const stats = await container.stats();
  const times: number[] = [];
  for (let i = 0; i < 50; i++) times.push((await run('/bin/true')).durationMs);
  times.sort((a, b) => a - b);
  say('create + start', `${startedMs.toFixed(1)} ms`, 'with limits');
  say('run /bin/true', `${times[25]?.toFixed(1)} ms`, 'median of 50, start to end');
  say(
    'memory',
    `${((stats.memory?.currentBytes ?? 0) / 1024).toFixed(0)} KiB`,
    'of the idle sandbox, all its processes',
  );
} finally {
  const { pid } = container;
  await container.remove({ force: true });
  say('cleaned up', pid && existsSync(`/proc/${pid}`) ? 'NOT EVERYTHING' : 'processes, mounts, cgroups, files: gone');
}
process.stdout.write('\n');

function countProcesses(): number {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length;
}

function lines(file: string): number {
  return readFileSync(file, 'utf8').split('\n').length - 1;
}

function interfaces(): string {
  return [...readFileSync('/proc/net/dev', 'utf8').matchAll(/^\s*([^\s:]+):/gm)].map(([, name]) => name).join(' ');
}
