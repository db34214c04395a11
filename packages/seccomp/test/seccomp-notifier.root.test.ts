import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  compile,
  type NotificationReply,
  profiles,
  type SeccompCall,
  type SeccompHandlers,
  SeccompNotifier,
  withNotify,
} from '@ns/seccomp';
import { needs, notRoot } from '@ns/testing';
import { notThisMachine, runFiltered } from './filtered-child.ts';

const real = needs(notRoot ?? notThisMachine);

const notifying = (...names: string[]) => compile(withNotify(profiles.unconfined, names));

async function serve(names: string[], script: string, handlers: SeccompHandlers, options = {}) {
  const child = runFiltered(notifying(...names), script);
  const notifier = SeccompNotifier.listen(await child.listener, handlers, options);
  const errors: unknown[] = [];
  notifier.on('handlerError', (error) => errors.push(error));
  const ended = new Promise<void>((resolve) => notifier.on('end', () => resolve()));
  const result = await child.result;
  await ended;
  return { ...result, errors, notifier };
}

const MKDIRAT = 258;
const GETPPID = 110;

real('each kind of answer reaches the caller', async () => {
  const { output, errors, stderr } = await serve(
    ['getppid', 'getpgrp', 'setsid', 'sync'],
    `print(json.dumps([sc(${GETPPID}) == os.getpid(), sc(111), sc(112), sc(162)]))`,
    {
      getppid: (call) => call.return(call.pid),
      getpgrp: async (call) => call.errno('EXDEV'),
      setsid: (call) => call.return(-1000n * -3n),
      sync: (call) => call.continue(),
    },
  );
  expect({ output, errors, stderr }).toEqual({ output: [true, 'EXDEV', 3000, 0], errors: [], stderr: '' });
});

real('a path is read from the caller, made absolute by its directories', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-seccomp-'));
  try {
    const paths: string[] = [];
    const handlers: SeccompHandlers = {
      mkdirat: async (call) => {
        paths.push(call.path(1, 0));
        return call.readString(1) === 'refused' ? call.errno('EACCES') : call.continue();
      },
    };
    const { output, errors } = await serve(
      ['mkdirat'],
      `
os.chdir(${JSON.stringify(directory)})
fd = os.open('.', os.O_RDONLY)
print(json.dumps([sc(${MKDIRAT}, -100, b'made', 0o700), sc(${MKDIRAT}, fd, b'refused', 0o700), sc(${MKDIRAT}, fd, b'/', 0o700)]))`,
      handlers,
    );
    expect(output).toEqual([0, 'EACCES', 'EEXIST']);
    expect(paths).toEqual([`${directory}/made`, `${directory}/refused`, '/']);
    expect(errors).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

real('a descriptor is put into the caller', async () => {
  const fd = openSync('/proc/sys/kernel/ostype', 'r');
  try {
    const { output, errors } = await serve(
      ['getppid', 'getpgrp', 'setsid'],
      `
first = sc(${GETPPID}); second = sc(111); third = sc(112)
print(json.dumps([os.read(first, 10).decode(), second, os.get_inheritable(second), os.pread(third, 10, 0).decode()]))`,
      {
        getppid: (call) => call.addFd(fd),
        getpgrp: (call) => call.addFd({ fd }, { newFd: 77, closeOnExec: false }),
        setsid: (call) => call.return(call.giveFd(fd)),
      },
    );
    expect({ output, errors }).toEqual({ output: ['Linux\n', 77, true, 'Linux\n'], errors: [] });
  } finally {
    closeSync(fd);
  }
});

real('memory of the caller is read and written, holes are found', async () => {
  const seen: Record<string, unknown> = {};
  const { output, errors } = await serve(
    ['getitimer', 'setitimer'],
    `
import mmap
area = mmap.mmap(-1, 8192)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
area[4090:4096] = b'until.'
libc.mprotect(ctypes.c_void_p(address + 4096), 4096, 0)
out = ctypes.create_string_buffer(8)
print(json.dumps([sc(36, 1, ctypes.addressof(out)), out.raw.decode(), sc(38, 0, address + 4090)]))`,
    {
      getitimer: (call) => {
        call.write(1, Buffer.from('written!'));
        return call.return(call.int(0));
      },
      setitimer: (call) => {
        seen.part = call.read(1, 100).toString();
        try {
          call.readString(1);
        } catch (error) {
          seen.error = (error as { code: string }).code;
        }
        return call.return(5);
      },
    },
  );
  expect({ output, errors }).toEqual({ output: [1, 'written!', 5], errors: [] });
  expect(seen).toEqual({ part: 'until.', error: 'ERR_NS_INVALID_SPEC' });
});

real('what a handler throws is EPERM and an event; what has no handler is ENOSYS', async () => {
  const { output, errors } = await serve(
    ['getppid', 'getpgrp', 'setsid', 'sync'],
    `print(json.dumps([sc(${GETPPID}), sc(111), sc(112), sc(162)]))`,
    {
      getppid: async () => {
        throw new RangeError('broken');
      },
      getpgrp: () => undefined as unknown as NotificationReply,
      setsid: (call) => call.errno('ENOTANERRNO'),
    },
  );
  expect(output).toEqual(['EPERM', 'EPERM', 'EPERM', 'ENOSYS']);
  expect(errors).toEqual([
    expect.any(RangeError),
    expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }),
    expect.objectContaining({ field: 'errno' }),
  ]);
});

real('a caller that dies while its call is handled is noticed', async () => {
  const child = runFiltered(notifying('getppid'), `sc(${GETPPID})`);
  const found: unknown[] = [];
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const notifier = SeccompNotifier.listen(await child.listener, {
    getppid: async (call: SeccompCall) => {
      found.push(call.waiting);
      child.process.kill('SIGKILL');
      await child.result;
      found.push(call.waiting);
      try {
        call.read(0, 1);
      } catch (error) {
        found.push((error as { code: string }).code);
      }
      setImmediate(finish);
      return call.return(0);
    },
  });
  const errors: unknown[] = [];
  notifier.on('handlerError', (error) => errors.push(error));
  await finished;
  expect(found).toEqual([true, false, 'ERR_NS_SECCOMP_CALLER_GONE']);
  expect((await child.result).signal).toBe('SIGKILL');
  expect(errors).toEqual([]);
  notifier.close();
  notifier.close();
  expect(notifier.closed).toBe(true);
});

real('a descriptor for a caller that is gone goes nowhere, also when the listener has been closed since', async () => {
  const child = runFiltered(notifying('getppid'), `sc(${GETPPID})`);
  const fd = openSync('/dev/null', 'r');
  const listener = await child.listener;
  const number = listener.fd;
  const codes: unknown[] = [];
  const attempt = (call: SeccompCall) => {
    try {
      codes.push(call.giveFd(fd));
    } catch (error) {
      codes.push((error as { code: string }).code);
    }
  };
  const errors: unknown[] = [];
  await new Promise<void>((finish) => {
    const notifier = SeccompNotifier.listen(listener, {
      getppid: async (call) => {
        child.process.kill('SIGKILL');
        const ended = new Promise<void>((resolve) => notifier.once('end', () => resolve()));
        await child.result;
        attempt(call);
        // With its last process the listener ends, and its number may become another file's.
        await ended;
        const reused: number[] = [];
        while (!reused.includes(number)) reused.push(openSync('/dev/null', 'r'));
        attempt(call);
        codes.push(call.waiting);
        reused.forEach(closeSync);
        setImmediate(finish);
        return call.addFd(fd);
      },
    });
    notifier.on('handlerError', (error) => errors.push(error));
  });
  closeSync(fd);
  expect(codes).toEqual(['ERR_NS_SECCOMP_CALLER_GONE', 'ERR_NS_SECCOMP_CALLER_GONE', false]);
  expect(errors).toEqual([]);
});

real('a descriptor that cannot be given says why', async () => {
  const found: unknown[] = [];
  const attempt = (give: () => number) => {
    try {
      found.push(give());
    } catch (error) {
      const { code, hint, field } = error as { code: string; hint?: string; field?: string };
      found.push(field ? [code, field] : [code, hint?.split(',')[0]]);
    }
  };
  const { output, errors } = await serve(
    ['getppid'],
    `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
print(json.dumps(sc(${GETPPID})))`,
    {
      getppid: (call) => {
        attempt(() => call.giveFd(999_999));
        attempt(() => call.giveFd(0, { newFd: 30 }));
        attempt(() => call.giveFd(0, { newFd: -1 }));
        attempt(() => call.giveFd(Number.NaN));
        for (;;) {
          try {
            call.giveFd(0);
          } catch (error) {
            attempt(() => {
              throw error;
            });
            break;
          }
        }
        return call.addFd(0);
      },
    },
  );
  const either = 'Either the descriptor to give is not open here';
  expect(found).toEqual([
    ['EBADF', either],
    ['EBADF', either],
    ['ERR_NS_INVALID_SPEC', 'newFd'],
    ['ERR_NS_INVALID_SPEC', 'fd'],
    ['EMFILE', 'The caller has as many descriptors as its RLIMIT_NOFILE allows'],
  ]);
  expect(output).toBe('EPERM');
  expect(errors).toEqual([expect.objectContaining({ code: 'EMFILE' })]);
});

real('no more calls than the bound are in handlers at once, and all are answered', async () => {
  let most = 0;
  let now = 0;
  const { output } = await serve(
    ['getppid'],
    `
import threading
results = []
threads = [threading.Thread(target=lambda: results.append(sc(${GETPPID}))) for _ in range(40)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(results))`,
    {
      getppid: async (call) => {
        most = Math.max(most, ++now);
        // The first wait for as many as there may be.
        do await new Promise((resolve) => setTimeout(resolve, 2));
        while (most < 3);
        now--;
        return call.return(7);
      },
    },
    { maxInFlight: 3 },
  );
  expect(output).toEqual(Array(40).fill(7));
  expect(most).toBe(3);
});

real('closing leaves the callers with ENOSYS and no descriptor behind', async () => {
  const before = openDescriptors();
  const child = runFiltered(notifying('getppid'), `print(json.dumps([sc(${GETPPID}), sc(${GETPPID})]))`);
  const notifier = SeccompNotifier.listen(await child.listener, {
    getppid: (call) => {
      notifier.close();
      return call.return(1);
    },
  });
  expect((await child.result).output).toEqual(['ENOSYS', 'ENOSYS']);
  expect(openDescriptors()).toBe(before);
});

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
