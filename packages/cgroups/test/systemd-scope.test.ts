import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createDelegatedScope } from '@ns/cgroups';
import { needs } from '@ns/testing';

const noDaemon = spawnSync('dbus-daemon', ['--version']).error ? 'dbus-daemon is not installed' : undefined;

/** A private bus on which a stand-in for systemd answers StartTransientUnit. */
async function withSystemd(
  jobResult: string | Error,
  body: (address: string, units: unknown[][]) => Promise<void>,
): Promise<void> {
  const { Message, sessionBus } = await import('@jellybrick/dbus-next');
  const daemon: ChildProcess = spawn('dbus-daemon', ['--session', '--nofork', '--print-address'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(daemon.stdout!, 'data')) as [Buffer];
  const busAddress = line.toString().trim();
  const systemd = sessionBus({ busAddress });
  const units: unknown[][] = [];
  systemd.addMethodHandler((message: InstanceType<typeof Message>) => {
    if (message.member === 'Subscribe') systemd.send(Message.newMethodReturn(message));
    else if (message.member !== 'StartTransientUnit') return false;
    else if (jobResult instanceof Error)
      systemd.send(Message.newError(message, 'org.freedesktop.systemd1.UnitExists', jobResult.message));
    else {
      units.push(message.body);
      systemd.send(Message.newMethodReturn(message, 'o', ['/org/freedesktop/systemd1/job/7']));
      const removed = [7, '/org/freedesktop/systemd1/job/7', message.body[0], jobResult];
      systemd.send(
        Message.newSignal(
          '/org/freedesktop/systemd1',
          'org.freedesktop.systemd1.Manager',
          'JobRemoved',
          'uoss',
          removed,
        ),
      );
    }
    return true;
  });
  await systemd.requestName('org.freedesktop.systemd1', 0);
  try {
    await body(busAddress, units);
  } finally {
    systemd.disconnect();
    daemon.kill();
    await once(daemon, 'exit');
  }
}

needs(noDaemon)('a scope is asked for with Delegate=yes and this process', async () => {
  await withSystemd('done', async (busAddress, units) => {
    const scope = await createDelegatedScope({ busAddress, unit: 'ns-test.scope' });
    expect(scope.unit).toBe('ns-test.scope');
    expect(scope.host.hierarchies.length).toBeGreaterThan(0);
    const [name, mode, properties] = units[0] as [string, string, [string, { value: unknown }][]];
    expect([name, mode]).toEqual(['ns-test.scope', 'fail']);
    expect(Object.fromEntries(properties.map(([key, { value }]) => [key, value]))).toMatchObject({
      Delegate: true,
      PIDs: [process.pid],
    });
  });
});

needs(noDaemon)('a refusal says why, and what to do by hand', async () => {
  await withSystemd(new Error('Unit ns-test.scope already exists.'), async (busAddress) => {
    await expect(createDelegatedScope({ busAddress, unit: 'ns-test.scope' })).rejects.toMatchObject({
      code: 'ERR_NS_CGROUP_SCOPE',
      message: expect.stringMatching(/already exists.*systemd-run/s),
    });
  });
  await withSystemd('failed', async (busAddress) => {
    await expect(createDelegatedScope({ busAddress })).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_SCOPE' });
  });
});

test('without a bus the error names the command', async () => {
  await expect(createDelegatedScope({ busAddress: 'unix:path=/no/such/bus' })).rejects.toMatchObject({
    code: 'ERR_NS_UNAVAILABLE',
    hint: expect.stringContaining('systemd-run'),
  });
});

test('a unit name that is none is refused', async () => {
  for (const unit of ['', 'ns', '../x.scope', 'a\0.scope']) {
    await expect(createDelegatedScope({ unit })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  }
});
