import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { SpecError, UnavailableError } from '@ns/libc';
import {
  AppArmorProfileError,
  appArmorExecLabel,
  appArmorSupport,
  compileAppArmorProfile,
  defaultAppArmorProfile,
  userNamespaceProfile,
} from '@ns/lsm';
import { needs } from '@ns/testing';
import { parseConfinement } from '../src/apparmor/exec-label.ts';
import { parseLoadedProfiles } from '../src/apparmor/policy.ts';

const profile = defaultAppArmorProfile({ name: 'ns-default' });

/** AppArmor's file globs: `*` stays in a directory, `**` does not. */
function matches(glob: string, path: string): boolean {
  const pattern = glob.replace(/\*\*|[*.]/g, (token) => ({ '**': '.*', '*': '[^/]*', '.': '\\.' })[token]!);
  return new RegExp(`^${pattern}$`).test(path);
}

function denies(path: string, access: string): boolean {
  return [...profile.matchAll(/^ {2}deny (\/\S+) (\w+),$/gm)].some(
    ([, glob, letters]) => letters!.includes(access) && matches(glob!, path),
  );
}

test.each([
  '/proc/1/attr/current',
  '/proc/27/oom_score_adj',
  '/proc/sys/kernel/shmmax',
  '/proc/sys/kernel/shm_rmid_forced',
  '/sys/fs/cgroup/pids.max',
  '/etc/passwd',
  '/srv/proc/sys/x',
])('%s can be written to', (path) => expect(denies(path, 'w')).toBe(false));

test.each([
  '/proc/sysrq-trigger',
  '/proc/kcore',
  '/proc/timer_list',
  '/proc/sys/vm/drop_caches',
  '/proc/sys/kernel/core_pattern',
  '/proc/sys/kernel/keys/maxkeys',
  '/proc/sys/net/ipv4/ip_forward',
  '/proc/sys/fs/binfmt_misc/register',
  '/proc/sysvipc/shm',
  '/proc/fs/nfsd/threads',
  '/proc/irq/1/smp_affinity',
  '/sys/kernel/uevent_helper',
  '/sys/fs/bpf/x',
  '/sys/fs/selinux/enforce',
  '/sys/firmware/efi/vars',
  '/sys/module/x/parameters/y',
  '/sys/bus/pci/drivers_probe',
])('%s cannot', (path) => expect(denies(path, 'w')).toBe(true));

test.each([
  ['/proc/kcore', true],
  ['/sys/firmware/dmi/tables/DMI', true],
  ['/sys/kernel/security/apparmor/profiles', true],
  ['/sys/kernel/mm/transparent_hugepage/enabled', false],
  ['/proc/cpuinfo', false],
])('whether %s is hidden: %s', (path, hidden) => expect(denies(path, 'r')).toBe(hidden));

test('a name cannot smuggle rules into a profile', () => {
  for (const name of ['x" { file, }', 'a\nb', '', 'a b', '"']) {
    expect(() => defaultAppArmorProfile({ name })).toThrow(SpecError);
    expect(() => userNamespaceProfile({ name, program: '/usr/bin/node' })).toThrow(SpecError);
  }
  expect(() => userNamespaceProfile({ name: 'node', program: '/usr/bin/node { }' })).toThrow(SpecError);
  expect(() => defaultAppArmorProfile({ name: 'x', signalledBy: ['a,b'] })).toThrow('signalledBy[0]');
});

test('the profile that allows user namespaces', () => {
  expect(userNamespaceProfile({ name: 'node', program: '/usr/bin/node' })).toBe(
    'abi <abi/4.0>,\n\nprofile "node" /usr/bin/node flags=(unconfined) {\n  userns,\n}\n',
  );
});

const parser = spawnSync('apparmor_parser', ['--version'], { env: { PATH: '/usr/sbin:/sbin:/usr/bin' } }).error
  ? 'AppArmor parser is not installed'
  : undefined;
const features = '/etc/apparmor.d/abi/3.0';

needs(parser)('apparmor_parser takes the default profile', async () => {
  const text = defaultAppArmorProfile({ name: 'ns-default', abi: '3.0', signalledBy: ['unconfined', 'node'] });
  expect((await compileAppArmorProfile(text, { features })).length).toBeGreaterThan(1000);
});

needs(parser)('a profile that is wrong is an error with what the parser said', async () => {
  const error = await compileAppArmorProfile('profile x { nonsense }').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AppArmorProfileError);
  expect(error).toMatchObject({ code: 'ERR_NS_APPARMOR_PROFILE', output: expect.stringContaining('line 1') });
});

test('support is read from sysfs and sysctl, and its absence explained', () => {
  using root = fakeRoot({});
  expect(appArmorSupport(root)).toMatchObject({ available: false, why: 'this kernel has no AppArmor' });
  root.write('sys/module/apparmor/parameters/enabled', 'N\n');
  expect(appArmorSupport(root)).toMatchObject({ available: false, fix: expect.stringContaining('apparmor=1') });
  root.write('sys/module/apparmor/parameters/enabled', 'Y\n');
  expect(appArmorSupport(root)).toEqual({ available: true, restrictsUserNamespaces: false });
  root.write('proc/sys/kernel/apparmor_restrict_unprivileged_userns', '1\n');
  expect(appArmorSupport(root)).toEqual({ available: true, restrictsUserNamespaces: true });
});

needs(appArmorSupport().available ? 'AppArmor is here' : undefined)(
  'a profile is refused where there is no AppArmor',
  () => {
    expect(() => appArmorExecLabel('ns-default')).toThrow(UnavailableError);
    expect(() => appArmorExecLabel('a\0b')).toThrow(SpecError);
  },
);

test('what the kernel prints is read', () => {
  expect(parseLoadedProfiles('docker-default (enforce)\n/usr/bin/man (complain)\na (b) (unconfined)\n')).toEqual([
    { name: 'docker-default', mode: 'enforce' },
    { name: '/usr/bin/man', mode: 'complain' },
    { name: 'a (b)', mode: 'unconfined' },
  ]);
  expect(parseConfinement('docker-default (enforce)\n')).toEqual({ profile: 'docker-default', mode: 'enforce' });
  expect(parseConfinement('unconfined\n\0')).toEqual({ profile: 'unconfined', mode: undefined });
});

function fakeRoot(
  files: Record<string, string>,
): { root: string; write(path: string, text: string): void } & Disposable {
  const root = mkdtempSync(join(tmpdir(), 'ns-lsm-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  for (const [path, text] of Object.entries(files)) write(path, text);
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

test.each<unknown>([undefined, null, 7, [], {}, { name: 'a', signalledBy: 7 }])('%j makes no profile', (wrong) => {
  expect(() => defaultAppArmorProfile(wrong as never)).toThrow(SpecError);
  expect(() => userNamespaceProfile(wrong as never)).toThrow(SpecError);
});
