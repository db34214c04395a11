// What an ordinary user may do: prints one JSON object.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  allocateIds,
  enter,
  IdMap,
  listNamespaces,
  Namespace,
  ownIdMappings,
  rootlessIdMappings,
  writeIdMaps,
} from '../../src/index.ts';

const code = async (attempt: () => unknown): Promise<string> => {
  try {
    await attempt();
    return 'no error';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

const child = spawn('unshare', ['--user', '--net', '--uts', 'sh', '-c', 'echo ready; exec sleep 60'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
await once(child.stdout, 'data');
try {
  await writeIdMaps(child.pid!, ownIdMappings());
  const { stdout } = await enter({ target: child.pid!, namespaces: 'all' }, 'sh', [
    '-c',
    'id -u; id -g; readlink /proc/self/ns/net',
  ]);
  using net = Namespace.open('net', { pid: child.pid! });
  using owner = net.owner();
  const result = {
    id: stdout.split('\n').slice(0, 2),
    sameNet: stdout.includes(net.name),
    map: IdMap.read(child.pid!, 'uid'),
    setgroups: readFileSync(`/proc/${child.pid}/setgroups`, 'latin1').trim(),
    ownerUid: owner.ownerUid(),
    listed: listNamespaces({ kinds: ['net'] }).some(
      ({ name, processes }) => name === net.name && processes.includes(child.pid!),
    ),
    openOther: await code(() => Namespace.open('net', { pid: 1 })),
    create: await code(() => Namespace.create('net')),
    pin: await code(() => net.pin('/tmp/ns-never-pinned')),
    rootless: await code(() => rootlessIdMappings()),
    range: await code(() => allocateIds({ stateDir: process.argv[2]! })),
  };
  process.stdout.write(JSON.stringify(result));
} finally {
  child.kill('SIGKILL');
}
