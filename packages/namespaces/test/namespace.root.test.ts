import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { allocate, cString, O, open, pidfdOpen, SpecError, SYS, syscall } from '@ns/libc';
import { Namespace, NamespaceError, NotEnterableError, namespaceKinds, unpin } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { elsewhere, kernelName } from './fixtures.ts';

const test = needs(notRoot);
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ns-namespaces-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('identity', () => {
  test('all eight kinds of ourselves are what /proc says', () => {
    for (const kind of namespaceKinds) {
      using current = Namespace.current(kind);
      using opened = Namespace.open(kind, { pid: process.pid });
      const { dev, ino } = statSync(`/proc/self/ns/${kind}`);
      expect(opened.id).toEqual({ device: dev, inode: ino });
      expect(opened.name).toBe(kernelName('self', kind));
      expect(opened.equals(current)).toBe(true);
    }
  });

  test('by pid, by pidfd and by path it is the same', async () => {
    await using other = await elsewhere('--net', '--uts', '--ipc', '--mount', '--cgroup', '--user', '--map-root-user');
    using pidfd = pidfdOpen(other.pid);
    for (const kind of ['net', 'uts', 'ipc', 'mnt', 'cgroup', 'user'] as const) {
      using byPid = Namespace.open(kind, { pid: other.pid });
      using byPidfd = Namespace.open(kind, { pidfd: pidfd.fd });
      using byPath = Namespace.open(kind, { path: `/proc/${other.pid}/ns/${kind}` });
      using ours = Namespace.current(kind);
      expect(byPid.name).toBe(kernelName(other.pid, kind));
      expect([byPidfd.id, byPath.id]).toEqual([byPid.id, byPid.id]);
      expect(byPid.equals(ours)).toBe(false);
    }
  });

  test('a process that ended', async () => {
    const other = await elsewhere('--uts');
    using pidfd = pidfdOpen(other.pid);
    await other[Symbol.asyncDispose]();
    expect(() => Namespace.open('uts', { pid: other.pid })).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => Namespace.open('uts', { pidfd: pidfd.fd })).toThrow();
  });

  test('what is no namespace, or of another kind', () => {
    const file = join(directory, 'file');
    const fifo = join(directory, 'fifo');
    writeFileSync(file, '');
    execFileSync('mkfifo', [fifo]);
    for (const path of [file, fifo, '/dev/null', '/proc/self/status', directory]) {
      expect(() => Namespace.open('net', { path })).toThrow(
        expect.objectContaining({ code: 'ERR_NS_NOT_A_NAMESPACE' }),
      );
    }
    expect(() => Namespace.open('net', { path: '/proc/self/ns/uts' })).toThrow(
      'is a uts namespace, not a net namespace',
    );
    expect(() => Namespace.open('net', { path: join(directory, 'nothing') })).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
    for (const target of [{}, { pid: 0 }, { pid: 1, path: '/x' }, { path: '' }, { pidfd: 0 }, null]) {
      expect(() => Namespace.open('net', target as never)).toThrow(SpecError);
    }
  });
});

describe('relations', () => {
  test('owner, parent and owner uid', async () => {
    await using other = await elsewhere('--net', '--user', '--map-root-user', '--pid', '--fork');
    using ours = Namespace.current('user');
    using user = Namespace.open('user', { pid: other.pid });
    using net = Namespace.open('net', { pid: other.pid });
    using netOwner = net.owner();
    expect(netOwner.name).toBe(kernelName(other.pid, 'user'));
    using parent = user.parent();
    expect(parent?.equals(ours)).toBe(true);
    using userOwner = user.owner();
    expect(userOwner.equals(ours)).toBe(true);
    expect(user.ownerUid()).toBe(0);

    using pid = Namespace.open('pid', { pid: other.pid });
    using pidParent = pid.parent();
    expect(pidParent?.name).toBe(kernelName('self', 'pid'));
  });

  test('beyond our own there is nothing to see', () => {
    using user = Namespace.current('user');
    expect(user.parent()).toBeUndefined();
    expect(() => user.owner()).toThrow(
      expect.objectContaining({ code: 'EPERM', hint: expect.stringContaining('hidden') }),
    );
  });

  test('only pid and user namespaces have a parent, only user namespaces a uid', () => {
    using net = Namespace.current('net');
    expect(() => net.parent()).toThrow(expect.objectContaining({ code: 'ERR_NS_NOT_HIERARCHICAL' }));
    expect(() => net.ownerUid()).toThrow(NamespaceError);
  });
});

describe('pins', () => {
  test('a pin keeps the namespace, and goes without a trace', () => {
    const path = join(directory, 'pinned');
    const net = Namespace.create('net');
    const { name } = net;
    net.pin(path);
    net.close();
    {
      using again = Namespace.open('net', { path });
      expect(again.name).toBe(name);
      expect(again.enter(() => Object.keys(networkInterfaces()))).toEqual([]);
    }
    expect(readFileSync('/proc/self/mountinfo', 'latin1')).toContain(` ${name} ${path} `);
    expect(unpin(path)).toBe(true);
    expect(unpin(path)).toBe(false);
    expect(existsSync(path)).toBe(false);
    expect(readFileSync('/proc/self/mountinfo', 'latin1')).not.toContain(path);
  });

  test('nothing that exists is covered, and no link followed', () => {
    const [file, link, target] = ['precious', 'link', 'target'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(file, 'x');
    symlinkSync(target, link);
    using uts = Namespace.current('uts');
    for (const path of [file, link]) expect(() => uts.pin(path)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(existsSync(target)).toBe(false);
    for (const path of [file, link, directory]) {
      expect(() => unpin(path)).toThrow(expect.objectContaining({ code: 'ERR_NS_NOT_PINNED' }));
    }
    expect(readFileSync(file, 'utf8')).toBe('x');
    expect(() => uts.pin('/')).toThrow(SpecError);
    expect(() => uts.pin(join(directory, 'no', 'directory'))).toThrow(
      expect.objectContaining({ code: 'ENOENT', hint: expect.stringContaining('directory') }),
    );
  });

  test('a pin that is in use goes all the same, and its users keep the namespace', () => {
    const path = join(directory, 'busy');
    using net = Namespace.create('net');
    net.pin(path);
    using held = Namespace.open('net', { path });
    using mount = open(path, O.RDONLY);
    expect(() => net.pin(path)).toThrow(
      expect.objectContaining({ code: 'EEXIST', path, hint: expect.stringContaining('unpin') }),
    );
    expect(unpin(path)).toBe(true);
    expect(existsSync(path)).toBe(false);
    expect(held.enter(() => Object.keys(networkInterfaces()))).toEqual([]);
    expect(mount.fd).toBeGreaterThan(0);
    net.pin(path);
    expect(unpin(path)).toBe(true);
  });

  test('pins on top of each other all go; a file with content below them stays', () => {
    const [empty, precious] = ['stacked', 'covered'].map((name) => join(directory, name)) as [string, string];
    using uts = Namespace.create('uts');
    uts.pin(empty);
    writeFileSync(precious, 'x');
    for (const path of [empty, precious, precious])
      execFileSync('mount', ['--bind', `/proc/${process.pid}/fd/${uts.fd}`, path]);
    expect(unpin(empty)).toBe(true);
    expect(existsSync(empty)).toBe(false);
    expect(unpin(precious)).toBe(true);
    expect(readFileSync(precious, 'utf8')).toBe('x');
    expect(() => unpin(precious)).toThrow(
      expect.objectContaining({ code: 'ERR_NS_NOT_PINNED', hint: expect.stringContaining('listNamespaces') }),
    );
  });

  test('what cannot be unpinned says why', () => {
    const path = join(directory, 'mounted');
    writeFileSync(path, '');
    execFileSync('mount', ['--bind', path, path]);
    try {
      expect(() => unpin(path)).toThrow(
        expect.objectContaining({ code: 'EBUSY', path, hint: expect.stringContaining('unmount') }),
      );
    } finally {
      execFileSync('umount', [path]);
    }
    expect(unpin(path)).toBe(true);
    expect(unpin(join(directory, 'no', 'directory'))).toBe(false);
    expect(() => unpin(join('/proc/self/status', 'x'))).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
  });

  test('our own mount namespace cannot be pinned in itself; no file is left', () => {
    const path = join(directory, 'mnt');
    using mnt = Namespace.current('mnt');
    expect(() => mnt.pin(path)).toThrow(
      expect.objectContaining({ code: 'EINVAL', hint: expect.stringContaining('private mount') }),
    );
    expect(existsSync(path)).toBe(false);
  });
});

describe('entering', () => {
  const here = (kind: string) => kernelName('thread-self', kind);

  test('net, uts, ipc and cgroup: inside during the call, back after it', () => {
    for (const kind of ['net', 'uts', 'ipc', 'cgroup'] as const) {
      const before = here(kind);
      using other = Namespace.create(kind);
      expect(here(kind)).toBe(before);
      expect(other.name).not.toBe(before);
      expect(other.enter(() => here(kind))).toBe(other.name);
      expect(here(kind)).toBe(before);
    }
  });

  test('a host name set inside stays inside', () => {
    const before = hostname();
    using uts = Namespace.create('uts');
    const name = cString('elsewhere');
    expect(uts.enter(() => syscall(SYS.sethostname, name.address, 9))).toBe(0);
    expect(hostname()).toBe(before);
    expect(uts.enter(hostname)).toBe('elsewhere');
  });

  test('what fails inside fails outside, at home', () => {
    const before = here('net');
    using net = Namespace.create('net');
    expect(() =>
      net.enter(() => {
        throw new RangeError('from inside');
      }),
    ).toThrow('from inside');
    expect(here('net')).toBe(before);
  });

  test('nested, and entered again', () => {
    const before = here('net');
    using outer = Namespace.create('net');
    using inner = Namespace.create('net');
    const names = outer.enter(() => [here('net'), inner.enter(() => here('net')), here('net')]);
    expect(names).toEqual([outer.name, inner.name, outer.name]);
    expect(here('net')).toBe(before);
  });

  test('an asynchronous function is refused, an async one before it runs', async () => {
    const before = here('net');
    using net = Namespace.create('net');
    let ran = false;
    const asyncCode = expect.objectContaining({ code: 'ERR_NS_ASYNC_CALLBACK' });
    expect(() =>
      net.enter(async () => {
        ran = true;
      }),
    ).toThrow(asyncCode);
    expect(ran).toBe(false);
    expect(() => net.enter(() => Promise.reject(new Error('nobody hears this')))).toThrow(asyncCode);
    // Its body would run at home, when somebody asks for its values.
    for (const generator of [function* () {}, async function* () {}] as (() => unknown)[])
      expect(() => net.enter(generator)).toThrow(asyncCode);
    expect(() => net.enter('text' as never)).toThrow(SpecError);
    expect(here('net')).toBe(before);
    await new Promise((resolve) => setImmediate(resolve));
  });

  test('user, mnt, pid and time are refused, with the way that works', () => {
    for (const kind of ['user', 'mnt', 'pid', 'time'] as const) {
      using current = Namespace.current(kind);
      expect(() => current.enter(() => {})).toThrow(NotEnterableError);
      expect(() => current.enter(() => {})).toThrow(
        expect.objectContaining({
          code: 'ERR_NS_NOT_ENTERABLE',
          hint: expect.stringContaining(`namespaces: ['${kind}']`),
        }),
      );
      expect(() => Namespace.create(kind)).toThrow(NotEnterableError);
    }
  });

  test('a descriptor made inside belongs there', () => {
    using net = Namespace.create('net');
    using file = net.enter(() => open('/proc/thread-self/net/dev', O.RDONLY));
    const text = allocate(4096);
    const length = syscall(SYS.read, file.fd, text.address, 4096);
    expect(text.bytes.toString('latin1', 0, length)).toMatch(/^\s*lo:/m);
    expect(text.bytes.toString('latin1', 0, length).trim().split('\n')).toHaveLength(3);
  });

  test('a closed namespace cannot be used', () => {
    const net = Namespace.create('net');
    net.close();
    net.close();
    expect(() => net.enter(() => {})).toThrow('closed');
  });
});
