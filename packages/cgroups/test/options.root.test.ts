import { existsSync } from 'node:fs';
import { Cgroup, createDelegatedScope, detectCgroups, planCgroup, pruneCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* What is said beside limits is checked as they are: a misspelt option would be one passed over. */

const machine = detectCgroups();
const name = `options-${process.pid}`;
const rootTest = needs(notRoot);
const invalid = (field: string) => expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field });
/** Where the cgroup would be. */
const paths = machine.hierarchies.flatMap(({ mountPoint }) => [`${mountPoint}/ns/${name}`, `${mountPoint}/no-such`]);

const creations: readonly [object, string][] = [
  [{ mising: 'warn' }, 'mising'],
  [{ missing: 'warning' }, 'missing'],
  [{ account: ['memroy'] }, 'account[0]'],
  [{ account: 'memory' }, 'account'],
  [{ owner: 'nobody' }, 'owner'],
  [{ owner: -1 }, 'owner'],
  [{ owner: 4_194_304 }, 'owner'],
  [{ parent: '../x' }, 'parent'],
  [{ parent: 'ns' }, 'parent'],
  // Nobody would remove it.
  [{ parent: '/no-such' }, 'parent'],
];

for (const [options, field] of creations) {
  rootTest(`${JSON.stringify(options)} makes nothing`, async () => {
    await expect(Cgroup.create(name, {}, options)).rejects.toEqual(invalid(field));
    expect(paths.filter((path) => existsSync(path))).toEqual([]);
  });
}

rootTest('of null as well', async () => {
  await expect(Cgroup.create(name, {}, null as unknown as object)).rejects.toEqual(invalid('options'));
  await expect(Cgroup.open(name, { parents: '/x' } as object)).rejects.toEqual(invalid('parents'));
  await expect(pruneCgroups({ parents: '/x' } as object)).rejects.toEqual(invalid('parents'));
  expect(() => planCgroup(name, {}, { parents: '/x' } as object)).toThrow(invalid('parents'));
  await expect(createDelegatedScope({ pids: ['x'] } as object)).rejects.toEqual(invalid('scope.pids[0]'));
  await expect(createDelegatedScope({ timeoutMs: Number.NaN })).rejects.toEqual(invalid('scope.timeoutMs'));
});

const uses: readonly [string, (cg: Cgroup, options: object) => unknown, readonly [object, string][]][] = [
  ...(['kill', 'freeze', 'thaw', 'remove'] as const).map(
    (verb) =>
      [
        verb,
        (cg: Cgroup, options: object) => cg[verb](options),
        [
          [{ timeoutMs: Number.NaN }, 'timeoutMs'],
          [{ timeoutMs: -1 }, 'timeoutMs'],
          [{ timeoutMs: Number.POSITIVE_INFINITY }, 'timeoutMs'],
          [{ timeout: 5 }, 'timeout'],
        ],
      ] as [string, (cg: Cgroup, options: object) => unknown, readonly [object, string][]],
  ),
  ['update', (cg, options) => cg.update({ pids: { max: 5 } }, options), [[{ missing: 'no' }, 'missing']]],
  [
    'stats',
    (cg, options) => cg.stats(options),
    [
      [{ only: 'pids' }, 'only'],
      [{ only: ['pid'] }, 'only'],
      [{ networkOfPid: '1' }, 'networkOfPid'],
      [{ network: 1 }, 'network'],
    ],
  ],
  [
    'events',
    (cg, options) => cg.events(options),
    [
      [{ pressure: 5 }, 'events.pressure'],
      [{ memoryUsage: '16MiB' }, 'events.memoryUsage'],
      [{ persistent: 1 }, 'events.persistent'],
      [{ memoryPressureLevel: 'high' }, 'events.memoryPressureLevel'],
      [{ signal: {} }, 'events.signal'],
    ],
  ],
  ['oomKills', (cg, options) => cg.oomKills(options), [[{ recursive: true }, 'recursive']]],
  [
    'delegate',
    (cg, options) => cg.delegate(options as { uid: number }),
    [
      [{}, 'uid'],
      // chown(2) would take it for "leave it".
      [{ uid: -1 }, 'uid'],
      [{ uid: 2 ** 32 - 1 }, 'uid'],
      [{ uid: 0, gid: '0' }, 'gid'],
    ],
  ],
];

rootTest('what is asked of a cgroup changes nothing either', async () => {
  await using cg = await Cgroup.create(name, { pids: { max: 7 } });
  for (const [what, use, refused] of uses) {
    for (const [options, field] of refused) {
      const error = await (async () => use(cg, options))().catch((reason: unknown) => reason);
      expect([what, options, error]).toEqual([what, options, invalid(field)]);
    }
  }
  expect(cg.frozen).toBe(false);
  expect((await cg.stats()).pids?.max).toBe(7);
  for (const pid of [0, -1, 1.5, '1'] as number[]) await expect(cg.add(pid)).rejects.toEqual(invalid('pid'));
  expect(() => cg.setOwner('self' as unknown as number)).toThrow(invalid('owner'));
});
