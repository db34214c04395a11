import { compile, profiles, SECCOMP_FILTER_FLAG, type SeccompProfile } from '@ns/seccomp';
import { needs, notRoot } from '@ns/testing';
import { notThisMachine, runFiltered } from './filtered-child.ts';

const real = needs(notRoot ?? notThisMachine);

/** What a script under a profile prints. */
async function under(profile: SeccompProfile, script: string, capabilities: string[] = []) {
  const { output, code, signal, stderr } = await runFiltered(compile(profile, { capabilities }), script).result;
  return { output, code, signal, stderr };
}

const print = (calls: Record<string, string>) =>
  `print(json.dumps({${Object.entries(calls)
    .map(([name, call]) => `${JSON.stringify(name)}: ${call}`)
    .join(', ')}}))`;

real("the kernel refuses what Docker's profile refuses", async () => {
  const script = print({
    mount: "sc(165, b'a', b'/', b'tmpfs', 0, 0)",
    unshare: 'sc(272, 0x10000000)',
    setns: 'sc(308, 0, 0)',
    keyctl: 'sc(250, 0, 0)',
    bpf: 'sc(321, 0, 0, 0)',
    io_uring_setup: 'sc(425, 1, 0)',
    userfaultfd: 'sc(323, 0)',
    AF_VSOCK: 'sc(41, 40, 1, 0)',
    'AF_VSOCK with bits above an int': 'sc(41, 40 | 1 << 32, 1, 0)',
    'AF_ALG with bits above an int': 'sc(41, 38 | 1 << 63, 5, 0)',
    clone3: 'sc(435, 0, 0)',
    'clone with a user namespace': 'sc(56, 0x10000000 | 17, 0, 0, 0, 0)',
    'a call that does not exist yet': 'sc(900)',
    'personality for another CPU': 'sc(135, 0x800000)',
    AF_UNIX: 'sc(41, 1, 1, 0) > 0',
    getpid: 'sc(39) == os.getpid()',
  });
  expect(await under(profiles.default, script)).toEqual({
    output: {
      mount: 'EPERM',
      unshare: 'EPERM',
      setns: 'EPERM',
      keyctl: 'EPERM',
      bpf: 'EPERM',
      io_uring_setup: 'EPERM',
      userfaultfd: 'EPERM',
      AF_VSOCK: 'EPERM',
      'AF_VSOCK with bits above an int': 'EPERM',
      'AF_ALG with bits above an int': 'EPERM',
      clone3: 'ENOSYS',
      'clone with a user namespace': 'EPERM',
      'a call that does not exist yet': 'ENOSYS',
      'personality for another CPU': 'EPERM',
      AF_UNIX: true,
      getpid: true,
    },
    code: 0,
    signal: null,
    stderr: '',
  });
});

real('capabilities open what Docker ties to them', async () => {
  const script = print({ setns: 'sc(308, 0, 0)', clone3: 'sc(435, 0, 0)' });
  expect((await under(profiles.default, script, ['CAP_SYS_ADMIN'])).output).toEqual({
    setns: 'EINVAL',
    clone3: 'EINVAL',
  });
});

real('a program with threads, subprocesses, files and sockets works under the strict profile', async () => {
  const script = `
import subprocess, threading, tempfile
with tempfile.TemporaryDirectory() as d:
    os.mkfifo(d + '/fifo')
    open(d + '/file', 'w').write('content')
    results = []
    t = threading.Thread(target=lambda: results.append(open(d + '/file').read())); t.start(); t.join()
    results.append(subprocess.check_output(['/bin/echo', 'child']).decode())
    results.append(subprocess.check_output([${JSON.stringify(process.execPath)}, '-p', 'require("fs").readdirSync("/").includes("proc")']).decode())
    a, b = socket.socketpair(); a.send(b'sent'); results.append(b.recv(4).decode())
    results.append(sc(16, 0, 0x5412, 0)); results.append(sc(16, 0, 0x5412 | 1 << 32, 0))
    results.append(sc(133, (d + '/null').encode(), 0o20600, 0x103)); results.append(sc(101, 0, 0, 0))
    results.append(sc(41, 16, 3, 12)); results.append(sc(41, 17, 3, 0))
print(json.dumps(results))`;
  expect(await under(profiles.strict, script, ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE'])).toEqual({
    output: ['content', 'child\n', 'true\n', 'sent', 'EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM'],
    code: 0,
    signal: null,
    stderr: '',
  });
});

// mov eax, 20 (getpid); int 0x80; ret
const INT80 = `
import mmap
area = mmap.mmap(-1, 4096, prot=7)
area.write(bytes.fromhex('b814000000cd80c3'))
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))
`;

real('calls through another ABI cannot pass by the rules', async () => {
  const nativeOnly: SeccompProfile = { defaultAction: 'SCMP_ACT_ALLOW' };
  expect(await under(nativeOnly, `${INT80}call()`)).toMatchObject({ code: null, signal: 'SIGSYS' });
  expect(await under(nativeOnly, 'sc(0x40000000 | 39)')).toMatchObject({ code: null, signal: 'SIGSYS' });
  const refused: SeccompProfile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86'],
    syscalls: [{ names: ['getpid'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
  };
  expect((await under(refused, `${INT80}print(json.dumps([call(), sc(39)]))`)).output).toEqual([-13, 'EACCES']);
});

real('the flags of a profile are accepted by the kernel', async () => {
  const profile: SeccompProfile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    flags: [
      'SECCOMP_FILTER_FLAG_TSYNC',
      'SECCOMP_FILTER_FLAG_LOG',
      'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
      'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
    ],
  };
  expect((await under(profile, "print('1')")).output).toBe(1);
  const notifying = compile({ ...profile, syscalls: [{ names: ['getppid'], action: 'SCMP_ACT_NOTIFY' }] });
  expect(notifying.flags & SECCOMP_FILTER_FLAG.TSYNC_ESRCH).not.toBe(0);
  const child = runFiltered(notifying, "print('1')");
  (await child.listener).close();
  expect((await child.result).output).toBe(1);
});
