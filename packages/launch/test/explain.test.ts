import { SpecError } from '@ns/libc';
import { explain } from '../src/explain.ts';
import type { Step } from '../src/lowering.ts';
import { everyLayout, everyStep } from './every-step.ts';

const explanation = explain(Object.values(everyStep), everyLayout, 'x64');
const lines = explanation.toString().split('\n');
const callsOf = (op: Step['op']) => explanation.steps.find(({ step }) => step.op === op)!.calls.join('\n');

test('every kind of step is described in words and has its calls', () => {
  for (const { step, description, calls } of explanation.steps) {
    expect(description).toMatch(/^[a-z]/);
    expect(description).not.toMatch(/undefined|\[object|NaN/);
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.join('\n')).not.toMatch(/undefined|NaN/);
    expect(step.op).toBeDefined();
  }
});

test('steps are numbered in the order of execution, children are indented', () => {
  expect(explanation.steps.map(({ number }) => number)).toEqual(explanation.steps.map((_, i) => i + 1));
  const child = explanation.steps.find(({ depth }) => depth === 1)!;
  expect(child.step).toEqual({ op: 'dieWithParent' });
  expect(lines).toContain(`${child.number}    dieWithParent: be killed when the process above ends, even by SIGKILL`);
  expect(lines.find((line) => line.includes('PR_SET_PDEATHSIG'))).toMatch(/^ +prctl/);
});

test('a line without its calls', () => {
  const brief = explain([everyStep.umask], everyLayout).toString({ calls: false });
  expect(brief).toBe('1  umask: set the umask to 027');
});

test('it is data: JSON holds what the text says', () => {
  const [first] = JSON.parse(JSON.stringify(explain([everyStep.hostname], everyLayout)));
  expect(first).toMatchObject({
    number: 1,
    depth: 0,
    step: { op: 'hostname', name: 'sandbox' },
    description: 'set the host name to sandbox',
  });
});

// What a reader looks for: flags by name, strings as text, octal modes, the descriptor that one call hands to another.
test.each<[Step['op'], string | RegExp]>([
  ['newSession', 'setsid() (may fail: EPERM)'],
  ['unshare', 'unshare(CLONE_NEWUTS|CLONE_NEWNET)'],
  ['setns', 'setns(6, CLONE_NEWNET)'],
  ['timeOffsets', String.raw`"monotonic -2 500000000\nboottime 2 1\n"`],
  [
    'joinCgroup',
    /openat\(AT_FDCWD, "\/sys\/fs\/cgroup\/jobs\/cgroup.procs", O_WRONLY\|O_NOFOLLOW\|O_CLOEXEC\) -> (\$\w+)\nwrite\(\1, "0", 1\)\nclose\(\1\)/,
  ],
  ['umask', 'umask(027)'],
  ['hostname', 'sethostname("sandbox", 7)'],
  ['propagation', 'mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)'],
  ['mountOverlay', /fsconfig\(\$\w+, FSCONFIG_SET_STRING, "lowerdir\+", "\/lower", 0\)/],
  ['mountOverlay', /move_mount\(\$\w+, "", \$\w+, "root", MOVE_MOUNT_F_EMPTY_PATH\)/],
  ['bindRoot', 'open_tree(AT_FDCWD, "/srv/root", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE)'],
  [
    'mount',
    /fsmount\(\$\w+, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID\|MOUNT_ATTR_NODEV\|MOUNT_ATTR_NOEXEC\) -> \$\w+ \(may fail: EPERM\)/,
  ],
  ['mount', /fsconfig\(\$\w+, FSCONFIG_CMD_CREATE, NULL, NULL, 0\)/],
  ['mountDev', /mknodat\(\$\w+, "null", S_IFCHR\|0666, 259\)/],
  ['coverLayer', 'fchmodat(AT_FDCWD, "cover/root", 01700)'],
  ['pivotRoot', 'umount2(".", MNT_DETACH)'],
  ['detachTree', /open_tree\(AT_FDCWD, "\/srv\/data", /],
  ['attachLayer', /move_mount\(7, "", \$\w+, "layer-0", MOVE_MOUNT_F_EMPTY_PATH\)/],
  ['unmount', 'fchdir(6)\numount2("self/fd/7", MNT_DETACH)'],
  ['boundingSet', 'prctl(PR_CAPBSET_DROP, 2, 0, 0, 0) (may fail: EINVAL)'],
  ['credentials', 'setresuid(1000, 1000, 1000)'],
  ['noNewPrivileges', 'prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)'],
  ['landlock', 'landlock_restrict_self(7, 0)'],
  ['exec', /execve\("\/usr\/bin\/true", 0x\w+, 0x\w+\)/],
  ['clone', /clone3\(0x\w+, 88\) -> \$\w+/],
])('%s: %s', (op, expected) => {
  if (typeof expected === 'string') expect(callsOf(op)).toContain(expected);
  else expect(callsOf(op)).toMatch(expected);
});

test('the plan of another architecture is explained with its own calls', () => {
  expect(() => explain(Object.values(everyStep), everyLayout, 'arm64')).not.toThrow();
});

test('a capability that is kept is not dropped', () => {
  expect(callsOf('boundingSet')).not.toContain('CAPBSET_DROP, 0,');
  expect(callsOf('boundingSet')).toContain('CAPBSET_DROP, 40,');
});

test('what a step may not leave to chance comes in order', () => {
  const order = (op: Step['op'], ...calls: string[]) => {
    const positions = calls.map((call) => callsOf(op).indexOf(call));
    expect(positions).not.toContain(-1);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
  };
  // setgroups denied before gid_map (CVE-2014-8989); groups, then gid, then uid; kept capabilities forgotten afterwards.
  order('clone', '"setgroups"', '"uid_map"', '"gid_map"');
  order(
    'credentials',
    'PR_SET_KEEPCAPS, 1',
    'setgroups',
    'setresgid',
    'setresuid',
    'PR_SET_KEEPCAPS, 0',
    'PR_SET_DUMPABLE',
    'PR_SET_PDEATHSIG',
  );
  // A bind mount gets its attributes before its place.
  order('bind', 'open_tree', 'mount_setattr', 'move_mount');
});

test('where no overlay may look, the plan says what is mounted instead', () => {
  const overlay = { ...everyStep.mountOverlay, target: '/tmp' };
  const step = { ...overlay, lower: ['/tmp'], instead: { ...overlay, lower: ['tree/tmp'] } };
  const text = explain([step], everyLayout, 'x64').toString();
  expect(text).toContain('; where mounts below must be kept, mount overlay of tree/tmp on /tmp');
  expect(text).toMatch(/FSCONFIG_CMD_CREATE, NULL, NULL, 0\) \(may fail: EINVAL\)[\s\S]*fsopen\("overlay"/);
});

test('ids that the kernel would read as another number are refused', () => {
  for (const wrong of [-1, 2 ** 32, 2 ** 32 - 1, Number.NaN, 1.5]) {
    expect(() => explain([{ op: 'credentials', uid: wrong, gid: 0 }], everyLayout)).toThrow(SpecError);
    expect(() => explain([{ op: 'credentials', uid: 0, gid: wrong }], everyLayout)).toThrow(SpecError);
    expect(() => explain([{ op: 'credentials', uid: 0, gid: 0, groups: [wrong] }], everyLayout)).toThrow(SpecError);
  }
});

test('a step that does not exist, and a descriptor that nobody hands over', () => {
  expect(() => explain([{ op: 'constructor' } as unknown as Step], everyLayout)).toThrow(
    /step\.op: expected one of dieWithParent, /,
  );
  expect(() => explain([{ op: 'setns', fd: 'other', namespaces: ['net'] }], everyLayout)).toThrow(
    /a descriptor named other/,
  );
});

test('id maps under an init would never be written', () => {
  const ids = [{ container: 0, host: 1000, size: 1 }];
  const step: Step = {
    op: 'clone',
    supervisor: 'init',
    namespaces: [],
    idMaps: { uids: ids, gids: ids, denySetgroups: true },
    child: [],
  };
  expect(() => explain([step], everyLayout)).toThrow(SpecError);
});
