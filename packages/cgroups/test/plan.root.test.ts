import { Cgroup, detectCgroups, type Limits, onlyV1, type PlanOptions, planCgroup } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { inOwnService } from './own-service.ts';

/* Where a cgroup would be is where it is made. */

const machine = detectCgroups();
const hosts = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];
const rootTest = needs(notRoot);
const placesOf = (trees: readonly { path: string; hierarchy: { mountPoint: string } }[]) =>
  trees.map(({ path, hierarchy }) => [hierarchy.mountPoint, path]);

const cases: readonly [string, Limits, Pick<PlanOptions, 'account' | 'parent'>][] = [
  ['nothing', {}, {}],
  ['limits', { memory: { max: '64MiB' }, cpu: { max: 0.5 }, pids: { max: 10 } }, {}],
  ['what is only counted', {}, { account: ['memory', 'io'] }],
  ['io, which throttles its children', { io: { weight: 50 } }, {}],
  ['another parent', { pids: { max: 10 } }, { parent: 'own' }],
];

describe.each(hosts.map((host) => [host.mode, host] as const))('%s', (_, host) => {
  for (const [what, limits, options] of cases) {
    // On v2 its own cgroup is of use to a process that is alone in it.
    const alone = options.parent === 'own' && host.mode === 'v2';
    rootTest(`${what}, and a child of it`, () =>
      alone
        ? inOwnService((service) => comparePlans(limits, { ...options, host: service }))
        : comparePlans(limits, { ...options, host }),
    );
  }
});

async function comparePlans(limits: Limits, place: Pick<PlanOptions, 'account' | 'parent' | 'host'>): Promise<void> {
  const plan = planCgroup('plan-test', limits, { ...place, missing: 'warn' });
  expect(plan.permitted).toBe(true);
  await using made = await Cgroup.create('plan-test', limits, { ...place, missing: 'warn' });
  expect(placesOf(plan.trees)).toEqual(placesOf(made.trees));
  await using child = await made.createChild('inside', {}, { account: ['memory', 'io'], missing: 'warn' });
  const childPlan = plan.child('inside', {}, { account: ['memory', 'io'], missing: 'warn' });
  expect(placesOf(childPlan.trees)).toEqual(placesOf(child.trees));
  using join = child.joinPlan();
  expect(childPlan.join).toEqual({ cloneInto: join.cloneInto !== undefined, procs: join.procs });
}

rootTest('of bad names and limits it makes errors as a creation does', async () => {
  for (const [name, limits] of [
    ['../x', {}],
    ['x', { pids: { max: -1 } }],
  ] as const)
    expect(() => planCgroup(name, limits)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }));
});
