import { Container, Network, type NsError, probe, prune, run, Volume } from '@ns/core';

// Does what is asked for on a machine that is not as most are, and says what came of it: {what: result}.
const does: Readonly<Record<string, () => Promise<unknown>>> = {
  run: async () => (await run('echo', ['x'])).stdout,
  'ids of its own': async () => (await run('id', ['-u'], { idMap: 'auto' })).stdout,
  'read-only': async () => (await run('echo', ['x'], { writable: 'none' })).stdout,
  container: async () => {
    await using container = await Container.create({ command: ['sleep', '60'], name: `odd-${process.pid}` });
    await container.start();
    return (await container.exec('echo', ['x'])).stdout;
  },
  network: async () => {
    await probe();
    const network = await Network.create({ name: `odd-${process.pid}` });
    await network.remove();
    return 'made';
  },
  volume: async () => {
    const volume = await Volume.create();
    const mounts = [{ type: 'volume', source: volume.name, target: '/data' }] as const;
    const { stdout } = await run('ls', ['/data'], { mounts, user: process.geteuid!() === 0 ? '1:1' : '0' });
    await volume.remove();
    return stdout;
  },
  prune: async () => (await prune()).failed,
};

const came: Record<string, unknown> = {};
for (const what of process.argv.slice(2)) {
  came[what] = await does[what]!().catch(({ name, code, message, hint }: NsError) => ({ name, code, message, hint }));
}
console.log(JSON.stringify(came));
