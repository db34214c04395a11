import { existsSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { Cgroup, detectCgroups, onlyV1 } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* Others are at the same cgroup: they remove it, give its name to another one, and write to it when we do. */

const rootTest = needs(notRoot);
const machine = detectCgroups();
const hosts = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];
const limits = { memory: { max: '64MiB' }, pids: { max: 10 } } as const;

/** Everything that needs a cgroup that is there. */
const uses: Readonly<Record<string, (cgroup: Cgroup) => unknown>> = {
  update: (cgroup) => cgroup.update({ pids: { max: 5 } }),
  'update of what it was made without': (cgroup) => cgroup.update({ io: { weight: 50 } }),
  add: (cgroup) => cgroup.add(process.pid),
  joinPlan: (cgroup) => cgroup.joinPlan(),
  createChild: (cgroup) => cgroup.createChild('child'),
  setOwner: (cgroup) => cgroup.setOwner(process.pid),
  stats: (cgroup) => cgroup.stats(),
  peaks: (cgroup) => cgroup.peaks(),
  processes: (cgroup) => cgroup.processes(),
  frozen: (cgroup) => cgroup.frozen,
  freeze: (cgroup) => cgroup.freeze(),
  thaw: (cgroup) => cgroup.thaw(),
  events: (cgroup) => cgroup.events(),
};

async function codeOf(use: (cgroup: Cgroup) => unknown, cgroup: Cgroup): Promise<unknown> {
  try {
    await use(cgroup);
    return undefined;
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

const codes = async (cgroup: Cgroup) =>
  Object.fromEntries(
    await Promise.all(Object.entries(uses).map(async ([name, use]) => [name, await codeOf(use, cgroup)])),
  );
const everywhere = (code: string) => Object.fromEntries(Object.keys(uses).map((name) => [name, code]));

describe.each(hosts.map((host) => [host.mode, host] as const))('%s', (_, host) => {
  rootTest('removed by somebody else: said so by all, no error to kill and remove', async () => {
    const cgroup = await Cgroup.create('feet', limits, { host });
    for (const path of cgroup.paths) rmdirSync(path);
    expect(await codes(cgroup)).toEqual(everywhere('ERR_NS_CGROUP_GONE'));
    expect(cgroup.oomKills()).toBeUndefined();
    await cgroup.kill();
    await cgroup.remove();
    await cgroup[Symbol.asyncDispose]();
    expect(cgroup.paths.filter((path) => existsSync(path))).toEqual([]);
  });

  rootTest('removed while a child is made: the child is not, and nothing is made again', async () => {
    const cgroup = await Cgroup.create('feet', limits, { host });
    const making = cgroup.createChild('child', {}, { account: ['memory', 'pids'] });
    for (const path of cgroup.paths) {
      // In one tree it is there already; not yet in the others.
      if (existsSync(`${path}/child`)) rmdirSync(`${path}/child`);
      rmdirSync(path);
    }
    await expect(making).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_GONE' });
    expect(cgroup.paths.filter((path) => existsSync(path))).toEqual([]);
  });

  needs(notRoot ?? (host.controllers.get('pids')?.version === 1 ? undefined : 'the pids controller is not on v1'))(
    'renamed, as v1 allows: its limits change and it is removed all the same',
    async () => {
      const cgroup = await Cgroup.create('feet', limits, { host });
      const renamed = cgroup.pathOf('pids')!.replace(/feet$/, 'renamed');
      renameSync(cgroup.pathOf('pids')!, renamed);
      await cgroup.update({ pids: { max: 5 } });
      expect(readFileSync(`${renamed}/pids.max`, 'utf8')).toBe('5\n');
      await cgroup[Symbol.asyncDispose]();
      expect(existsSync(renamed)).toBe(false);
    },
  );

  rootTest('removed by us, its name taken by another, which is left alone', async () => {
    const cgroup = await Cgroup.create('feet', limits, { host });
    await cgroup[Symbol.asyncDispose]();
    await using other = await Cgroup.create('feet', limits, { host });
    expect(await codes(cgroup)).toEqual(everywhere('ERR_NS_CGROUP_GONE'));
    await cgroup.kill();
    await cgroup.remove();
    await cgroup[Symbol.asyncDispose]();
    expect((await other.stats()).pids?.max).toBe(10);
  });

  rootTest('closed: said so by all, and nothing to dispose of', async () => {
    const cgroup = await Cgroup.create('feet', limits, { host });
    cgroup.close();
    expect(await codes(cgroup)).toEqual(everywhere('ERR_NS_CGROUP_CLOSED'));
    await cgroup[Symbol.asyncDispose]();
    await using again = await Cgroup.open('feet', { host });
    expect((await again.stats()).pids?.max).toBe(10);
  });

  rootTest('two writers of values that depend on each other', async () => {
    await using one = await Cgroup.create('writers', { memory: { max: '64MiB' }, cpu: { max: 0.5 } }, { host });
    const two = await Cgroup.open('writers', { host });
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (i % 2 ? one : two).update(
          {
            memory: { max: `${16 + ((i * 7) % 200)}MiB`, swapMax: `${(i * 13) % 99}MiB` },
            cpu: { max: { quotaUs: 1_000 + i * 997, periodUs: 5_000 + ((i * 4_999) % 90_000) } },
          },
          { missing: 'warn' },
        ),
      ),
    );
    const last = { memory: { max: '32MiB' }, cpu: { max: 0.25 } } as const;
    await two.update(last);
    expect((await one.stats()).memory?.maxBytes).toBe(32 * 2 ** 20);
    two.close();
  });
});
