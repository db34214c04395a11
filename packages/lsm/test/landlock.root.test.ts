import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { launch } from '@ns/launch';
import { O, OwnedFd, open, SyscallError } from '@ns/libc';
import {
  LandlockRuleset,
  type LandlockSpec,
  landlockSupport,
  listSecurityModules,
  type RestrictedOptions,
  spawnRestricted,
} from '@ns/lsm';
import { needs, notRoot } from '@ns/testing';

const { abi, why } = landlockSupport();
const landlock = (wanted: number) =>
  notRoot ?? (abi >= wanted ? undefined : `Landlock: ${why ?? `ABI ${wanted} is wanted, this kernel has ${abi}`}`);

// Where programs and their libraries live on any distribution.
const system = ['/usr', '/bin', '/lib', '/lib64', '/etc/ld.so.cache'];
const programs = { execute: system, missingPaths: 'skip' } as const;

let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'ns-lsm-')));
  for (const name of ['read', 'write', 'other']) {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, 'file'), name);
  }
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Runs a shell script in the test's directory; its output and errors, line by line. */
async function shell(script: string, spec: LandlockSpec, options: Partial<RestrictedOptions> = {}) {
  const child = spawnRestricted('sh', ['-c', `exec 2>&1; cd ${directory}; ${script}`], { landlock: spec, ...options });
  const [output, exit] = await Promise.all([text(child.stdout!), child.exited]);
  if (exit.failure) throw exit.failure;
  return { output: output.trim(), ...exit };
}

/** Runs a script of Node's, which may read everything. */
async function node(script: string, spec: LandlockSpec) {
  const files = { execute: ['/'], devices: ['/dev/null'] };
  const child = spawnRestricted(process.execPath, ['-e', script], {
    landlock: { files, ...spec },
    stdio: ['null', 'pipe', 2],
  });
  const [output, { failure }] = await Promise.all([text(child.stdout!), child.exited]);
  if (failure) throw failure;
  return output.trim();
}

const filesTest = needs(landlock(2));

filesTest('what is listed can be read or written, the rest is out of reach', async () => {
  const { output } = await shell(
    `cat read/file; echo; echo changed > read/file; cat other/file; ls other; : > write/file; echo new > write/new; cat write/new;
     rm write/file; mkdir write/sub; mv write/new write/sub/moved; cat write/sub/moved; touch new; ls /root`,
    { files: { ...programs, readOnly: [join(directory, 'read')], readWrite: [join(directory, 'write')] } },
  );
  expect(output.split('\n')).toEqual([
    'read',
    expect.stringContaining('cannot create read/file: Permission denied'),
    'cat: other/file: Permission denied',
    "ls: cannot open directory 'other': Permission denied",
    'new',
    'new',
    "touch: cannot touch 'new': Permission denied",
    "ls: cannot open directory '/root': Permission denied",
  ]);
  expect(readFileSync(join(directory, 'read/file'), 'utf8')).toBe('read');
  expect(existsSync(join(directory, 'write/file'))).toBe(false);
});

needs(landlock(3))('a readable file cannot be truncated or executed', async () => {
  const script = join(directory, 'read/script');
  writeFileSync(script, '#!/bin/sh\necho ran\n', { mode: 0o755 });
  const { output } = await shell('truncate -s 0 read/file; read/script', {
    files: { ...programs, readOnly: [join(directory, 'read')] },
  });
  expect(output.split('\n')).toEqual([
    expect.stringMatching(/truncate: .*Permission denied/),
    expect.stringContaining('read/script: Permission denied'),
  ]);
});

filesTest('nothing is moved from a place that may be written to one that may not', async () => {
  const { output } = await shell('mv write/file read/gone', {
    files: { ...programs, readOnly: [join(directory, 'read')], readWrite: [join(directory, 'write')] },
  });
  expect(output).toMatch(/Permission denied|Invalid cross-device link/);
});

filesTest('a rule may be about a single file', async () => {
  const { output } = await shell('cat read/file; cat other/file', {
    files: { ...programs, rules: [{ paths: [join(directory, 'read/file')], allow: ['read_file', 'read_dir'] }] },
  });
  expect(output).toBe('readcat: other/file: Permission denied');
});

filesTest('the process has no privileges, and gets none', async () => {
  const { output } = await shell("grep -E '^(NoNewPrivs|Cap(Prm|Eff|Inh|Amb))' /proc/self/status; id -u", {
    files: { ...programs, readOnly: ['/proc'] },
  });
  expect(output.replaceAll('\t', ' ').split('\n')).toEqual([
    'CapInh: 0000000000000000',
    'CapPrm: 0000000000000000',
    'CapEff: 0000000000000000',
    'CapAmb: 0000000000000000',
    'NoNewPrivs: 1',
    '0',
  ]);
});

filesTest('another user, a working directory and an environment of its own', async () => {
  const { output } = await shell(
    'id; pwd; env | sort',
    { files: { ...programs, readOnly: ['/etc'] } },
    {
      user: { uid: 12345, gid: 23456 },
      env: { PATH: '/usr/bin:/bin', GREETING: 'hi' },
    },
  );
  expect(output.split('\n')).toEqual(
    expect.arrayContaining([
      'uid=12345 gid=23456 groups=23456',
      'GREETING=hi',
      expect.not.stringContaining('HOME=/root'),
    ]),
  );
});

filesTest('no privilege is needed', async () => {
  process.seteuid!(65534);
  try {
    const { output } = await shell('cat /etc/hostname >&-; ls / > /dev/null; echo ran', {
      files: { ...programs, devices: ['/dev/null'] },
    });
    expect(output.split('\n').at(-1)).toBe('ran');
    expect(output).toContain("ls: cannot open directory '/': Permission denied");
  } finally {
    process.seteuid!(0);
  }
});

filesTest('a path that does not exist is refused, or left out on demand', () => {
  const missing = join(directory, 'nowhere');
  expect(() => LandlockRuleset.create({ files: { readOnly: [missing] } })).toThrow(
    `allow '${missing}' in a Landlock ruleset: ENOENT no such file or directory (openat2). Give files.missingPaths: 'skip' to leave such paths out`,
  );
  using ruleset = LandlockRuleset.create({ files: { readOnly: [missing], missingPaths: 'skip' } });
  expect(ruleset.fd).toBeInstanceOf(OwnedFd);
  expect(ruleset.fd?.closed).toBe(false);
});

filesTest('paths of another root lead nowhere outside it', () => {
  symlinkSync('/read', join(directory, 'link'));
  symlinkSync('/etc', join(directory, 'escape'));
  using root = open(directory, O.PATH | O.DIRECTORY);
  const allow = (path: string) => () =>
    LandlockRuleset.create({ files: { readOnly: [path] } }, { root: root.fd }).close();
  expect(allow('/link/file')).not.toThrow();
  expect(allow('/../../read')).not.toThrow();
  for (const path of ['/escape', '/../etc', '/etc/passwd']) expect(allow(path)).toThrow(SyscallError);
});

filesTest('rules about paths can follow when the process waits already', async () => {
  using ruleset = LandlockRuleset.withoutPaths({ files: { ...programs, readOnly: [join(directory, 'read')] } });
  const child = launch({
    fds: { ruleset: ruleset.fd!.fd },
    steps: [
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: [],
        child: [
          { op: 'noNewPrivileges' },
          { op: 'park' },
          { op: 'landlock', ruleset: 'ruleset', flags: ruleset.restrictFlags },
          { op: 'closeFds' },
          { op: 'unblockSignals' },
          {
            op: 'exec',
            candidates: ['/bin/cat'],
            argv: ['cat', join(directory, 'read/file'), join(directory, 'other/file')],
            env: [],
          },
        ],
      },
    ],
  });
  await child.ready;
  ruleset.addPaths();
  child.go();
  const [output, errors] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);
  expect(output).toBe('read');
  expect(errors).toContain('other/file: Permission denied');
});

filesTest('rules about paths can be left to the process, which resolves them in its own root', async () => {
  using ruleset = LandlockRuleset.withoutPaths({ files: { ...programs, readOnly: ['/srv/file'] } });
  const { paths, missingPaths } = ruleset.plan;
  const child = launch({
    fds: { ruleset: ruleset.fd!.fd },
    steps: [
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: ['mnt'],
        child: [
          { op: 'propagation', propagation: 'rprivate' },
          { op: 'mountScratch', options: {} },
          { op: 'bindRoot', source: '/', attributes: [] },
          {
            op: 'bind',
            source: join(directory, 'read'),
            target: '/srv',
            type: 'directory',
            attributes: [],
            recursive: false,
          },
          { op: 'pivotRoot' },
          { op: 'noNewPrivileges' },
          { op: 'landlock', ruleset: 'ruleset', flags: ruleset.restrictFlags, paths, missingPaths },
          { op: 'closeFds' },
          { op: 'unblockSignals' },
          {
            op: 'exec',
            candidates: ['/bin/cat'],
            argv: ['cat', '/srv/file', join(directory, 'other/file')],
            env: [],
          },
        ],
      },
    ],
  });
  const [output, errors] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);
  expect(output).toBe('read');
  expect(errors).toContain('other/file: Permission denied');
});

needs(landlock(4))('only listed ports can be connected and bound', async () => {
  const [allowed, refused] = await Promise.all([
    listen({ host: '127.0.0.1', port: 0 }),
    listen({ host: '127.0.0.1', port: 0 }),
  ]);
  try {
    const [open, shut] = [portOf(allowed), portOf(refused)];
    const output = await node(
      `const net = require('node:net');
       const connect = (port) => new Promise((done) => net.connect(port, '127.0.0.1').on('connect', function () { this.destroy(); done('connected'); }).on('error', (e) => done(e.code)));
       const bind = () => new Promise((done) => net.createServer().on('error', (e) => done(e.code)).listen(0, '127.0.0.1', function () { this.close(); done('bound'); }));
       Promise.all([connect(${open}), connect(${shut}), bind()]).then((all) => console.log(all.join()));`,
      { network: { connect: [open] } },
    );
    expect(output).toBe('connected,EACCES,EACCES');
  } finally {
    allowed.close();
    refused.close();
  }
});

needs(landlock(6))('processes outside the scope are out of reach', async () => {
  const name = `\0ns-lsm-${process.pid}`;
  const server = await listen({ path: name });
  try {
    const script = `
      const signal = () => { try { process.kill(${process.pid}, 0); return 'sent'; } catch (e) { return e.code; } };
      require('node:net').connect(${JSON.stringify(name)}).on('connect', () => { console.log(signal(), 'connected'); process.exit(); }).on('error', (e) => console.log(signal(), e.code));`;
    expect(await node(script, { scopes: ['signal', 'abstract_unix_socket'] })).toBe('EPERM EPERM');
    expect(await node(script, {})).toMatch(/connected$/);
  } finally {
    server.close();
  }
});

needs(landlock(7))('logging flags are taken by the kernel', async () => {
  const { output } = await shell('echo ran', {
    files: programs,
    logging: { sameExec: false, newExec: true, subdomains: false },
  });
  expect(output).toBe('ran');
});

filesTest('time runs out', async () => {
  const { timedOut, exitCode } = await shell('exec sleep 60', { files: programs }, { timeout: 100 });
  expect({ timedOut, exitCode }).toEqual({ timedOut: true, exitCode: null });
});

filesTest('an abort ends it, and one before the start prevents it', async () => {
  const controller = new AbortController();
  const running = shell(
    'echo up > write/up; exec sleep 60',
    { files: { ...programs, readWrite: [directory] } },
    { signal: controller.signal },
  );
  while (!existsSync(join(directory, 'write/up'))) await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort();
  expect((await running).signal).toBe('SIGKILL');
  await expect(shell('true', { files: programs }, { signal: controller.signal })).rejects.toThrow('aborted');
});

filesTest('a program that does not exist is a failure of the last step', async () => {
  await expect(shell('true', { files: programs }, { env: { PATH: '/nowhere' } })).rejects.toMatchObject({
    code: 'ENOENT',
    syscall: 'execve',
  });
});

needs(listSecurityModules() ? notRoot : 'the kernel does not list its security modules')(
  'Landlock is among the active modules',
  () => {
    expect(listSecurityModules()?.includes('landlock')).toBe(abi > 0);
    expect(listSecurityModules()).toContain('capability');
  },
);

function listen(options: { host: string; port: number } | { path: string }): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy()).on('error', reject);
    server.listen(options, () => resolve(server));
  });
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}
