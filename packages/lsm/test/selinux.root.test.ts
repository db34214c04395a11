import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { launch } from '@ns/launch';
import {
  categoryPairLevel,
  containerLabels,
  isSelinuxContextKnown,
  selinuxAllows,
  selinuxContext,
  selinuxExecLabel,
  selinuxMountLabel,
  selinuxSupport,
  spawnRestricted,
} from '@ns/lsm';
import { loadSelinuxTestPolicy, needs, notRoot } from '@ns/testing';

/* Runs in the virtual machine: npm run test:vm -- --append security=selinux packages/lsm/test/selinux.root */

const before = selinuxSupport();
const unfit = notRoot ?? loadSelinuxTestPolicy();
const selinux = needs(unfit);
const patience = 60_000;

const mine = containerLabels({ level: categoryPairLevel(1, 2) });
const others = containerLabels({ level: categoryPairLevel(3, 4) });

/** Runs a shell script under a label. */
async function shell(script: string, label: string): Promise<string> {
  const child = launch({
    steps: [
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: ['mnt'],
        child: [
          { op: 'propagation', propagation: 'rprivate' },
          { op: 'execLabel', ...selinuxExecLabel(label) },
          { op: 'noNewPrivileges' },
          { op: 'closeFds' },
          { op: 'unblockSignals' },
          { op: 'exec', candidates: ['/bin/sh'], argv: ['sh', '-c', script], env: ['PATH=/usr/bin:/bin'] },
        ],
      },
    ],
  });
  const [output, , { failure }] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);
  if (failure) throw failure;
  return output;
}

selinux('without a policy it is not available, and the reason is said', () => {
  if (!before.available) expect(before).toMatchObject({ why: expect.stringContaining('no policy') });
  expect(selinuxSupport()).toEqual({ available: true, mode: 'enforcing' });
});

selinux('the policy is asked whether it knows a context', () => {
  expect(isSelinuxContextKnown(mine.process)).toBe(true);
  expect(isSelinuxContextKnown(mine.mount)).toBe(true);
  expect(isSelinuxContextKnown('system_u:system_r:no_such_t:s0')).toBe(false);
});

selinux('the policy is asked what it allows', () => {
  const [ours, container, guarded] = [selinuxContext(), mine.process, 'system_u:system_r:guarded_t:s0'];
  expect(ours).toMatch(/^system_u:system_r:kernel_t:/);
  const allows = (target: string, className: string, ...permissions: string[]) =>
    selinuxAllows({ source: ours, target, class: className, permissions });
  expect(allows(container, 'process', 'transition', 'dyntransition')).toBe(true);
  expect(allows(guarded, 'process', 'transition')).toBe(true);
  expect(allows(guarded, 'process', 'transition', 'dyntransition')).toBe(false);
  expect(allows('system_u:system_r:no_such_t:s0', 'process', 'transition')).toBe(false);
  // What the policy knows nothing about it allows: handleunknown.
  expect(allows(guarded, 'no_such_class', 'eat')).toBe(true);
  expect(allows(guarded, 'process', 'no_such_permission')).toBe(true);
});

selinux(
  'a process runs under its label, and may only what the policy says',
  async () => {
    const file = '/var/tmp/ns-selinux-host-file';
    writeFileSync(file, 'of the host\n');
    try {
      const script = `cat /proc/self/attr/current; echo; cat ${file}; echo x >> ${file} || echo refused`;
      expect(await shell(script, mine.process)).toBe(`${mine.process}\0\nof the host\nrefused\n`);
      expect(readFileSync(file, 'utf8')).toBe('of the host\n');
    } finally {
      rmSync(file);
    }
  },
  patience,
);

selinux(
  'files of a mount have its label: those of other containers are out of reach',
  async () => {
    const place = '/var/tmp/ns-selinux-mount';
    mkdirSync(place, { recursive: true });
    try {
      const script = `echo x > ${place}/file && cat ${place}/file || echo refused`;
      for (const [label, output] of [
        [mine.mount, 'x\n'],
        [others.mount, 'refused\n'],
      ] as const) {
        execFileSync('mount', ['-t', 'tmpfs', '-o', `mode=1777,${selinuxMountLabel(label).option}`, 'tmpfs', place]);
        try {
          expect(await shell(script, mine.process)).toBe(output);
        } finally {
          execFileSync('umount', [place]);
        }
      }
    } finally {
      rmSync(place, { recursive: true });
    }
  },
  patience,
);

selinux('SELinux and Landlock restrict the same process', async () => {
  const child = spawnRestricted('cat', ['/proc/self/attr/current', '/etc/passwd'], {
    landlock: { files: { execute: ['/usr', '/bin', '/lib', '/lib64', '/proc'], missingPaths: 'skip' } },
    label: selinuxExecLabel(mine.process),
  });
  const [output, errors] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);
  expect(output).toBe(`${mine.process}\0`);
  expect(errors).toContain('/etc/passwd: Permission denied');
});

selinux('a label that the policy does not know is refused by the kernel', async () => {
  await expect(shell('true', 'system_u:system_r:no_such_t:s0')).rejects.toMatchObject({ code: 'EINVAL' });
  expect(existsSync('/sys/fs/selinux/enforce')).toBe(true);
});
