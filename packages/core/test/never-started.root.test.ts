import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { link, NetNamespace } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* A container that was made, and waits for its start: nothing runs, so nobody waits for it. */

const test = needs(notRoot);
const root = useOwnStateRoot();

const make = `
import { readFileSync } from 'node:fs';
import { Container } from '@ns/core';
const container = await Container.create(JSON.parse(process.argv[2]));
const cgroups = readFileSync('/proc/' + container.pid + '/cgroup', 'utf8').match(/ns-[0-9a-f]{64}/);
console.log(JSON.stringify({ id: container.id, pid: container.pid, cgroup: cgroups?.[0] }));
`;

const mountPoints = [
  ...new Set([...readFileSync('/proc/mounts', 'utf8').matchAll(/ (\S+) cgroup2? /g)].map(([, path]) => path!)),
];

for (const [what, spec] of [
  ['nothing else', {}],
  ['limits, a name and ids of its own', { limits: { memory: '64MiB', pids: 64 }, name: 'waits', idMap: 'auto' }],
  ['a terminal', { tty: true }],
  ['input, health checks and a restart policy', { stdin: 'x', health: { command: ['true'] }, restart: 'always' }],
  ['a volume and logs', { mounts: [{ type: 'volume', source: 'v', target: '/v' }], log: { format: 'json' } }],
  ['a network', { network: 'web', ports: ['8080:80'], egress: { allow: ['10.0.0.0/8'] } }],
] as const)
  test(`with ${what} it keeps no process alive, and goes with it`, async () => {
    using program = new NodeProgram('waits', make);
    using host = await NetNamespace.create();
    const through = ['nsenter', `--net=/proc/${process.pid}/fd/${host.fd}`];
    if ('network' in spec) {
      using maker = new NodeProgram(
        'network',
        `import { Network } from '@ns/core'; await Network.create({ name: 'web', subnet: '10.78.0.0/24' });`,
      );
      expect(await maker.run([], { through })).toMatchObject({ exitCode: 0, stderr: '' });
    }
    const { exitCode, stdout, stderr } = await program.run([JSON.stringify({ command: ['sleep', '600'], ...spec })], {
      through,
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const { id, pid, cgroup } = JSON.parse(stdout) as { id: string; pid: number; cgroup?: string };
    expect(await eventually(() => !existsSync(`/proc/${pid}/root/.`))).toBe(true);
    expect(await eventually(() => !existsSync(join(root.path, 'containers', id)))).toBe(true);
    expect(await eventually(() => mountPoints.every((path) => !cgroup || !existsSync(`${path}/ns/${cgroup}`)))).toBe(
      true,
    );
    expect(await eventually(async () => (await link.list({ netns: host, kind: 'veth' })).length === 0)).toBe(true);
    expect(await Container.list()).toEqual([]);
    const leases = join(root.path, 'ids');
    expect(existsSync(leases) ? readdirSync(leases).filter((name) => name !== 'lock') : []).toEqual([]);
  });

for (const [what, does, stdout] of [
  [
    'waits for its end',
    'await container.wait({ timeout: 400 }).catch(({ code }) => console.log(code));',
    'ERR_NS_TIMEOUT',
  ],
  ['removes it', 'await container.remove(); console.log(container.status);', 'removed'],
  ['stops it', 'await container.stop(); console.log(container.status);', 'stopped'],
  ['starts it', "await container.start(); container.on('exit', ({ result }) => console.log(result.exitCode));", '7'],
] as const)
  test(`who ${what} stays until then`, async () => {
    using program = new NodeProgram(
      'stays',
      `import { Container } from '@ns/core';
      const container = await Container.create({ command: ['sh', '-c', 'sleep 0.3; exit 7'] });
      ${does}`,
    );
    expect(await program.run()).toEqual({ exitCode: 0, signal: null, stdout: `${stdout}\n`, stderr: '' });
  });

for (const [what, does, stdout] of [
  ['keeps it', '', ''],
  ['runs its command', "console.log((await sandbox.run('sh', ['-c', 'sleep 0.3; echo ran'])).stdout);", 'ran\n\n'],
  [
    'waits for it as long as that takes',
    "const ran = new Promise((resolve) => setTimeout(() => resolve(sandbox.run('true')), 300)); await pool.drain(); console.log((await ran).exitCode);",
    '0\n',
  ],
  [
    'ends it',
    "await sandbox[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')](); console.log('ended');",
    'ended\n',
  ],
] as const)
  test(`a sandbox that was acquired keeps no process alive by itself: who ${what}`, async () => {
    using program = new NodeProgram(
      'acquired',
      `import { Pool } from '@ns/core';
      const pool = await Pool.create({ size: 1 });
      const sandbox = await pool.acquire();
      ${does}`,
    );
    expect(await program.run()).toEqual({ exitCode: 0, signal: null, stdout, stderr: '' });
  });
