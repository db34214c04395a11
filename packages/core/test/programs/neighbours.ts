import { Container, run } from '../../src/index.ts';

/* Containers of an ordinary user that share namespaces. Prints one JSON object: {name of the case: what came of it}. */

const observations: Record<string, unknown> = {};

async function see(name: string, look: () => Promise<unknown>): Promise<void> {
  try {
    observations[name] = await look();
  } catch (error) {
    const { code, message, hint, step } = error as Error & { code?: string; hint?: string; step?: unknown };
    observations[name] = { error: code ?? String(error), message, hint, step };
  }
}

// All it sees but itself, at whatever point its own programs are.
const script = 'id -u; hostname; echo $(ps -o comm= | grep -vxE "sh|ps|grep|sort" | sort -u); echo $(ls /srv)';
const told = ({ exitCode, stdout, stderr }: { exitCode: number | null; stdout: string; stderr: string }) => ({
  exitCode,
  lines: stdout.trim().split('\n'),
  stderr,
});

{
  await using first = await Container.create({
    command: ['sleep', '600'],
    name: 'first',
    hostname: 'first',
    lifetime: { dieWithParent: false },
  });
  await first.start();
  await first.exec('touch', ['/srv/here']);
  const of = (...kinds: readonly string[]) =>
    Object.fromEntries(kinds.map((kind) => [kind, { container: first }] as const));
  const all = ['user', 'mount', 'pid', 'net', 'uts', 'ipc', 'cgroup', 'time'];
  await see('only its user namespace', async () =>
    told(await run('sh', ['-c', script], { namespaces: of('user'), hostname: 'second' })),
  );
  await see('its user namespace and its processes', async () =>
    told(await run('sh', ['-c', script], { namespaces: of('user', 'pid'), hostname: 'second', oomScoreAdj: 500 })),
  );
  await see('its user namespace and its mounts', async () =>
    told(await run('sh', ['-c', script], { namespaces: of('user', 'mount'), hostname: 'second' })),
  );
  await see('all of its namespaces', async () => told(await run('sh', ['-c', script], { namespaces: of(...all) })));
  await see('its user namespace and a network', async () =>
    told(await run('true', [], { namespaces: of('user'), ports: ['18080:80'] })),
  );
  await see('its mounts alone', async () => told(await run('true', [], { namespaces: of('mount') })));
  await see('its processes alone', async () => told(await run('true', [], { namespaces: of('pid') })));
  await see('its network alone', async () => told(await run('true', [], { namespaces: of('net') })));
  await see('the mounts of this machine', async () =>
    told(await run('sh', ['-c', 'id -u; cat /etc/shadow'], { namespaces: { mount: 'host' } })),
  );
  await see('a neighbour', async () => {
    await using neighbour = await Container.create({ command: ['sleep', '600'], namespaces: of(...all) });
    await neighbour.start();
    const exec = told(await neighbour.exec('sh', ['-c', script]));
    await neighbour.restart();
    const again = told(await neighbour.exec('sh', ['-c', script]));
    await first.stop();
    await neighbour.wait();
    return { exec, again };
  });
}
process.stdout.write(JSON.stringify(observations));
