import { closeSync, openSync, readlinkSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { ERRNO, type ErrnoName, SyscallError } from '@ns/libc';
import { kernelState, leftSince, limitDescriptors, needs, notRoot, processesInNamespace } from '@ns/testing';
import { type LaunchOptions, launch, type Step } from '../src/index.ts';
import { rest } from '../src/zygote.ts';
import { NodeScript } from './node-script.ts';
import { appendsLower, assembleContainer, containerPlan, program } from './plans.ts';
import { outcome, run } from './run.ts';

/* A step that fails ends the start, names itself, and leaves nothing. */

const rootTest = needs(notRoot);
const failing: Step = { op: 'workingDirectory', path: '/no/such/place', create: false };

describe('a failure after each step of a container', () => {
  const whole = containerPlan(['true']);
  const parts = (['monitor', 'setup', 'payload'] as const).flatMap((part) =>
    whole[part].map((step, i) => ({ part, i, op: step.op })),
  );

  // After exec there is nothing left that could fail.
  rootTest(
    `${parts.length - 1} places`,
    async () => {
      await run({ steps: assembleContainer(whole) });
      const before = kernelState();
      for (const { part, i, op } of parts.filter((place) => place.op !== 'exec')) {
        const steps = assembleContainer({
          ...whole,
          [part]: [...whole[part].slice(0, i + 1), failing, ...whole[part].slice(i + 1)],
        });
        const launched = launch({ steps });
        // Whatever namespace it got to live in, it is empty when exited settles.
        const namespace = launched.started.then(
          (pid) => namespaceOf(pid),
          () => undefined,
        );
        const { exit, stdout } = await outcome(launched);
        expect([part, op, stdout]).toEqual([part, op, '']);
        expect(exit).toMatchObject({
          exitCode: 125,
          failure: { code: 'ENOENT', syscall: 'chdir', path: '/no/such/place', step: { op: 'workingDirectory' } },
        });
        const name = await namespace;
        if (name) expect(processesInNamespace('pid', name)).toEqual([]);
        await expect(launched.executed).rejects.toBe(exit.failure);
      }
      expect(await leftSince(before)).toEqual([]);
    },
    60_000,
  );
});

/** The pid namespace of a process that may be gone already. */
function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

describe('each kind of step names itself and the call that failed', () => {
  const toRoot: Step[] = [
    { op: 'propagation', propagation: 'rprivate' },
    { op: 'mountScratch', options: {} },
    { op: 'bindRoot', source: '/', attributes: [] },
  ];
  const mount = { op: 'mount', type: 'tmpfs', target: '/mnt', options: {}, attributes: [] } as const;
  const long = 'x'.repeat(65);

  // biome-ignore format: a table
  const failures: [Step, syscall: string, errno: string, before?: Step[]][] = [
    [{ op: 'joinCgroup', procs: '/no/such/cgroup.procs' }, 'openat', 'ENOENT'],
    [{ op: 'setns', fd: 'wrong', namespaces: ['net'] }, 'setns', 'EINVAL'],
    [{ op: 'unshare', namespaces: ['mnt'] }, 'unshare', 'EPERM', [{ op: 'capabilities', permitted: 0n, effective: 0n }]],
    [{ op: 'sessionKeyring', name: '.reserved', joinableBy: 'user', required: true }, 'keyctl', 'EPERM'],
    [{ op: 'oomScoreAdj', value: 5000 }, 'write', 'EINVAL'],
    [{ op: 'oomScoreAdj', value: 5 }, 'openat2', 'EXDEV', [...toRoot, { ...mount, type: 'proc', target: '/proc' }, { ...mount, target: '/proc/self/' }, { op: 'pivotRoot' }]],
    [{ op: 'rlimit', name: 'nofile', soft: 2, hard: 1, required: true }, 'prlimit64', 'EINVAL'],
    [{ op: 'hostname', name: long }, 'sethostname', 'EINVAL'],
    [{ op: 'domainname', name: long }, 'setdomainname', 'EINVAL'],
    [{ op: 'linkUp', name: 'nosuchlink0' }, 'ioctl', 'ENODEV'],
    [failing, 'chdir', 'ENOENT'],
    [{ op: 'mountScratch', options: { size: 'much' } }, 'fsconfig', 'EINVAL'],
    [{ op: 'mountOverlay', target: '/', lower: ['/no/such/layer'], options: {}, attributes: [], appendLower: appendsLower }, 'fsconfig', 'ENOENT', toRoot.slice(0, 2)],
    [{ op: 'bindRoot', source: '/no/such/root', attributes: [] }, 'open_tree', 'ENOENT', toRoot.slice(0, 2)],
    [{ ...mount, type: 'nosuchfs' }, 'fsopen', 'ENODEV', toRoot],
    [{ ...mount, options: { nosuchoption: true } }, 'fsconfig', 'EINVAL', toRoot],
    [{ ...mount, target: '/etc/passwd/below' }, 'openat2', 'ENOTDIR', toRoot],
    [{ ...mount, target: '/proc/self/cwd', plain: true }, 'openat2', 'ELOOP', toRoot],
    [{ op: 'mountDev', options: {}, nodes: [], links: { a: 'b' }, directories: ['a'], bindNodes: false }, 'symlinkat', 'EEXIST', toRoot],
    [{ op: 'bind', source: '/no/such/source', target: '/mnt', type: 'directory', attributes: [], recursive: false }, 'open_tree', 'ENOENT', toRoot],
    [{ op: 'bind', source: { fd: 'wrong' }, target: '/mnt', type: 'directory', attributes: [], recursive: false }, 'mount_setattr', 'EINVAL', toRoot],
    [{ op: 'file', target: '/etc/passwd/below', content: '', mode: 0o644, uid: 0, gid: 0 }, 'openat2', 'ENOTDIR', toRoot],
    [{ op: 'sysctl', key: 'no.such.key', value: '1', required: true }, 'openat2', 'ENOENT', [...toRoot, { op: 'mount', type: 'proc', target: '/proc', options: {}, attributes: [], handle: 'proc' }]],
    [{ op: 'sysctl', key: 'net.ipv4.ip_forward', value: 'no number', required: true }, 'write', 'EINVAL', [...toRoot, { op: 'mount', type: 'proc', target: '/proc', options: {}, attributes: [], handle: 'proc' }]],
    [{ op: 'capabilities', permitted: 0n, effective: 1n }, 'capset', 'EPERM'],
    [{ op: 'boundingSet', keep: 0n, lastCapability: 0 }, 'prctl', 'EPERM', [{ op: 'capabilities', permitted: 0n, effective: 0n }]],
    [{ op: 'credentials', uid: 1, gid: 1, groups: [] }, 'setgroups', 'EPERM', [{ op: 'capabilities', permitted: 0n, effective: 0n }]],
    [{ op: 'seccomp', filter: Buffer.alloc(8, 0xff), flags: 0 }, 'seccomp', 'EINVAL'],
    [{ op: 'execLabel', file: '/proc/self/attr/no-such', label: 'x' }, 'openat2', 'ENOENT'],
    [{ op: 'execLabel', file: '/proc/self/attr/exec', label: 'x' }, 'fstatfs', 'EXDEV', [...toRoot, { ...mount, target: '/proc' }, { op: 'pivotRoot' }]],
    [{ op: 'execLabel', file: '/proc/self/oom_score_adj', label: '5' }, 'openat2', 'EXDEV', [...toRoot, { ...mount, type: 'proc', target: '/proc' }, { op: 'bind', source: '/dev/null', target: '/proc/self/oom_score_adj', type: 'file', attributes: [], recursive: false }, { op: 'pivotRoot' }]],
    [{ op: 'landlock', ruleset: 'wrong' }, 'landlock_restrict_self', 'EBADFD'],
    [{ op: 'clone', supervisor: 'init', namespaces: [], intoCgroup: 'wrong', child: [] }, 'clone3', 'EBADF'],
    [{ op: 'exec', candidates: ['/no/such/program'], argv: ['x'], env: [] }, 'execve', 'ENOENT'],
  ];

  let wrong: number;
  beforeAll(() => {
    wrong = openSync('/dev/null', 'r');
  });
  afterAll(() => closeSync(wrong));

  for (const [step, call, errno, before = []] of failures) {
    rootTest(`${step.op}: ${call} ${errno}`, async () => {
      const launched = launch({
        steps: [
          { op: 'newSession' },
          {
            op: 'clone',
            supervisor: 'monitor',
            namespaces: ['pid', 'mnt', 'uts', 'net', 'ipc'],
            child: [{ op: 'dieWithParent' }, ...before, step, ...program(['true'])],
          },
        ],
        fds: { wrong },
      });
      const { exit } = await outcome(launched);
      expect(exit.exitCode).toBe(125);
      expect(exit.failure).toBeInstanceOf(SyscallError);
      expect(exit.failure).toMatchObject({
        code: errno,
        errno: -ERRNO[errno as ErrnoName],
        syscall: call,
        step: { op: step.op, number: before.length + 4 },
      });
      expect(exit.failure!.message).toMatch(
        new RegExp(`: ${errno} .* \\(step ${before.length + 4} of \\d+, ${step.op}: ${call}\\)`),
      );
      expect(exit.failure!.args!.call).toMatch(new RegExp(`^${call}\\(`));
    });
  }
});

test('a process that could not be watched is not made', async () => {
  using script = new NodeScript('without-sockets');
  const child = script.start([]);
  expect(JSON.parse(await text(child.stdout))).toEqual({
    installed: 0,
    codes: ['EAFNOSUPPORT', 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
    children: 0,
  });
});

rootTest('a launch for which descriptors run out leaves none', async () => {
  const options: LaunchOptions = {
    steps: assembleContainer(containerPlan(['true'])),
    stdio: ['pipe', 'pipe', 'pipe'],
  };
  const launchWithin = (limit: number) => {
    using _limit = limitDescriptors(limit);
    return launch(options);
  };
  await run(options);
  // What is kept for the next launch is opened again.
  rest();
  const before = kernelState();
  let attempts = 0;
  for (let limit = 3; limit < 1000; limit++, attempts++) {
    try {
      await outcome(launchWithin(limit));
      break;
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^(EMFILE|EBADF)$/) });
    }
  }
  expect(attempts).toBeGreaterThan(3);
  expect(attempts).toBeLessThan(100);
  expect(await leftSince(before)).toEqual([]);
});

rootTest('a descriptor that there is no number for is why the launch failed', async () => {
  const waits: Step[] = [
    { op: 'newSession' },
    { op: 'park' },
    { op: 'terminal', rows: 24, columns: 80, uid: 0 },
    { op: 'park' },
  ];
  const whole = containerPlan(['true']);
  const before = kernelState();
  const launched = launch({
    steps: assembleContainer({
      ...whole,
      payload: [...waits, ...whole.payload.filter(({ op }) => op !== 'newSession')],
    }),
  });
  await launched.ready;
  let refused: SyscallError;
  {
    using _limit = limitDescriptors(3);
    launched.go();
    refused = await launched.terminal.catch((error) => error);
    expect(refused).toMatchObject({ code: 'EMFILE', syscall: 'recvmsg' });
    launched.giveUp(refused);
  }
  expect((await outcome(launched)).exit).toMatchObject({ failure: refused, signal: 'SIGKILL' });
  await expect(launched.executed).rejects.toBe(refused);
  expect(await leftSince(before)).toEqual([]);
});
