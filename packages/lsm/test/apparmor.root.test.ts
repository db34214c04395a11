import { text } from 'node:stream/consumers';
import { launch } from '@ns/launch';
import {
  appArmorConfinement,
  appArmorExecLabel,
  appArmorSupport,
  defaultAppArmorProfile,
  listAppArmorProfiles,
  loadAppArmorProfile,
  removeAppArmorProfile,
  spawnRestricted,
} from '@ns/lsm';
import { needs, notRoot } from '@ns/testing';

const { available, why } = appArmorSupport();
const appArmor = needs(notRoot ?? (available ? undefined : `AppArmor: ${why}`));

// Compiling a profile takes half a second, and half a minute where the machine is emulated.
const patience = 120_000;

const name = `ns-test-${process.pid}`;
const loaded = () => listAppArmorProfiles().filter((profile) => profile.name === name);

appArmor(
  'a profile is loaded, confines a process, and is removed',
  async () => {
    await loadAppArmorProfile(defaultAppArmorProfile({ name }));
    try {
      expect(loaded()).toEqual([{ name, mode: 'enforce' }]);
      const child = launch({
        steps: [
          {
            op: 'clone',
            supervisor: 'monitor',
            namespaces: ['mnt'],
            child: [
              { op: 'execLabel', ...appArmorExecLabel(name) },
              { op: 'closeFds' },
              { op: 'unblockSignals' },
              {
                op: 'exec',
                candidates: ['/bin/sh'],
                argv: [
                  'sh',
                  '-c',
                  `cat /proc/self/attr/current; exec 2>/dev/null
                 mount -t tmpfs none /mnt && echo mounted; echo 0 > /proc/sys/vm/swappiness && echo written
                 head -c 1 /proc/kcore && echo read; kill -0 ${process.pid} && echo signalled; echo 0 > /proc/self/oom_score_adj && echo own`,
                ],
                env: ['PATH=/usr/bin:/bin'],
              },
            ],
          },
        ],
      });
      const [output] = await Promise.all([text(child.stdout!), child.exited]);
      expect(output.split('\n')).toEqual([`${name} (enforce)`, 'own', '']);
    } finally {
      expect(removeAppArmorProfile(name)).toBe(true);
    }
    expect(loaded()).toEqual([]);
    expect(removeAppArmorProfile(name)).toBe(false);
  },
  patience,
);

appArmor(
  'AppArmor and Landlock restrict the same process',
  async () => {
    await loadAppArmorProfile(defaultAppArmorProfile({ name }));
    try {
      const child = spawnRestricted('cat', ['/proc/self/attr/current', '/proc/self/comm', '/etc/passwd'], {
        landlock: { files: { execute: ['/usr', '/bin', '/lib', '/lib64', '/proc'], missingPaths: 'skip' } },
        label: appArmorExecLabel(name),
      });
      const [output, errors] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);
      expect(output).toBe(`${name} (enforce)\ncat\n`);
      expect(errors).toContain('/etc/passwd: Permission denied');
    } finally {
      removeAppArmorProfile(name);
    }
  },
  patience,
);

appArmor('our own confinement', () => {
  expect(appArmorConfinement()).toEqual({ profile: 'unconfined', mode: undefined });
  expect(() => appArmorConfinement(2 ** 22)).toThrow('does not exist');
});
