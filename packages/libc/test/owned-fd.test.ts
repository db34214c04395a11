import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { ERRNO, O, OwnedFd, open, ResourceStack, type SeveralErrors, SYS, syscall } from '../src/index.ts';

const isOpen = (fd: number) => syscall(SYS.fcntl, fd, 1) >= 0;
const F_GETFD = 1;
const FD_CLOEXEC = 1;

describe('OwnedFd', () => {
  test('closes once, and only what it owns', () => {
    const owned = open('/dev/null', O.RDONLY);
    const { fd } = owned;
    expect(isOpen(fd)).toBe(true);
    owned.close();
    expect([owned.closed, isOpen(fd)]).toEqual([true, false]);
    // The number now belongs to somebody else; a second close must not take it away.
    const other = open('/dev/null', O.RDONLY);
    expect(other.fd).toBe(fd);
    owned.close();
    owned[Symbol.dispose]();
    expect(isOpen(other.fd)).toBe(true);
    other.close();
  });

  test('a closed one has no number', () => {
    const owned = open('/dev/null', O.RDONLY);
    owned.close();
    expect(() => owned.fd).toThrow(/closed/);
    expect(() => owned.procPath).toThrow(/closed/);
    expect(() => owned.duplicate()).toThrow(/closed/);
    expect(() => owned.release()).toThrow(/closed/);
  });

  test('is released to another owner', () => {
    const owned = open('/dev/null', O.RDONLY);
    const fd = owned.release();
    owned.close();
    expect(isOpen(fd)).toBe(true);
    new OwnedFd(fd).close();
    expect(isOpen(fd)).toBe(false);
  });

  test('using closes at the end of the block, also when it throws', () => {
    let fd = -1;
    expect(() => {
      using owned = open('/dev/null', O.RDONLY);
      fd = owned.fd;
      throw new Error('inside');
    }).toThrow('inside');
    expect(isOpen(fd)).toBe(false);
  });

  test('a duplicate is another number for the same file, close-on-exec as every descriptor of ours', () => {
    using owned = open('/dev/null', O.RDONLY);
    using copy = owned.duplicate();
    expect(copy.fd).not.toBe(owned.fd);
    expect(copy.fd).toBeGreaterThan(2);
    expect(readlinkSync(copy.procPath)).toBe('/dev/null');
    for (const { fd } of [owned, copy]) expect(syscall(SYS.fcntl, fd, F_GETFD)).toBe(FD_CLOEXEC);
  });

  test('a lost one is closed by the collector', () => {
    const script = `
      import { open, SYS, syscall } from '@ns/libc';
      const fd = (() => open('/dev/null', 0).fd)();
      setTimeout(() => { gc(); setTimeout(() => { console.log(syscall(SYS.fcntl, fd, 1)); }, 50); }, 0);
    `;
    const { NODE_OPTIONS, ...env } = process.env;
    const out = execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
      cwd: import.meta.dirname,
      env,
      encoding: 'utf8',
    });
    expect(out.trim()).toBe(String(-ERRNO.EBADF));
  });
});

describe('ResourceStack', () => {
  const resource = (log: string[], name: string, error?: Error) => ({
    [Symbol.dispose]() {
      log.push(name);
      if (error) throw error;
    },
  });

  test('releases in reverse order, once', () => {
    const log: string[] = [];
    const stack = new ResourceStack();
    const first = resource(log, 'first');
    expect(stack.use(first)).toBe(first);
    stack.defer(() => log.push('second'));
    stack[Symbol.dispose]();
    stack[Symbol.dispose]();
    expect(log).toEqual(['second', 'first']);
  });

  test('gives up ownership when the work succeeded', () => {
    const log: string[] = [];
    {
      using stack = new ResourceStack();
      stack.use(resource(log, 'kept'));
      stack.release();
      stack.use(resource(log, 'later'));
    }
    expect(log).toEqual(['later']);
  });

  test('releases everything even when something throws, and loses no error', () => {
    const log: string[] = [];
    const [one, two] = [new Error('one'), new Error('two')];
    const stack = new ResourceStack();
    for (const item of [resource(log, 'a', one), resource(log, 'b'), resource(log, 'c', two)]) stack.use(item);
    let thrown: unknown;
    try {
      stack[Symbol.dispose]();
    } catch (error) {
      thrown = error;
    }
    expect(log).toEqual(['c', 'b', 'a']);
    expect((thrown as SeveralErrors).errors).toEqual([two, one]);
    const single = new ResourceStack();
    single.use(resource(log, 'd', one));
    expect(() => single[Symbol.dispose]()).toThrow(one);
  });
});
