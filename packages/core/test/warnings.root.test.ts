import { CapabilitySet, getProcessCapabilities } from '@ns/capabilities';
import { appArmorSupport } from '@ns/lsm';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';

/* What cannot be had is said, and the container runs without it. */

const lacking = CapabilitySet.all().difference(getProcessCapabilities('self').bounding).names();
const lacks = needs(notRoot ?? (lacking.length > 0 ? undefined : 'this process could grant every capability'));

lacks('a capability that cannot be granted is a warning with its name', async () => {
  const [capability] = lacking;
  const expected = [
    {
      code: 'NS_CAPABILITY_NOT_GRANTED',
      name: capability,
      message: `${capability} cannot be granted: it is not in the bounding set of this process`,
    },
  ];
  const options = { capabilities: { add: [capability!] } };
  const spec = { command: ['true'], ...options };
  const { exitCode, warnings } = await run('true', [], options);
  expect({ exitCode, warnings }).toEqual({ exitCode: 0, warnings: expected });
  await using container = await Container.create(spec);
  expect(container.warnings).toEqual(expected);
  const explanation = Container.explain(spec);
  expect(explanation.warnings).toEqual([expected[0]!.message]);
  expect(String(explanation)).toContain(`warning: ${capability}`);
});

needs(notRoot)('without anything missing there is none', async () => {
  expect((await run('true')).warnings).toEqual([]);
});

needs(notRoot ?? (appArmorSupport().available ? 'AppArmor is here' : undefined))(
  'without AppArmor everything is unconfined, also by name; another name is refused',
  async () => {
    expect((await run('true', [], { apparmor: 'unconfined' })).exitCode).toBe(0);
    await expect(run('true', [], { apparmor: 'jobs' })).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
    for (const field of ['process', 'mount']) {
      const selinux = { [field]: 'system_u:system_r:container_t:s0' };
      await expect(run('true', [], { selinux })).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
    }
  },
);
