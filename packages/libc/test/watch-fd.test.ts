import { AsyncLocalStorage } from 'node:async_hooks';
import { readlinkSync } from 'node:fs';
import { check, O, OwnedFd, SYS, syscall, watchFd, watchFdAlone } from '../src/index.ts';

const readyEvent = () => new OwnedFd(check('eventfd2', syscall(SYS.eventfd2, 1, O.CLOEXEC | O.NONBLOCK)));

for (const [how, watchIt] of [
  ['watchFd', (fd: number, callback: () => void) => watchFd(fd, { readable: true }, callback)],
  ['watchFdAlone', watchFdAlone],
] as const) {
  test(`${how}: what is ready stays so, and a closed watch is silent`, async () => {
    using event = readyEvent();
    let calls = 0;
    await new Promise<void>((resolve) => {
      const watch = watchIt(event.fd, () => {
        if (++calls < 3) return;
        watch.close();
        watch.close();
        watch.ref();
        resolve();
      });
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(calls).toBe(3);
  });

  test(`${how}: the callback is in nobody's asynchronous context`, async () => {
    const storage = new AsyncLocalStorage<string>();
    using event = readyEvent();
    const store = await new Promise((resolve) => {
      storage.run('of the first to watch', () => {
        const watch = watchIt(event.fd, () => {
          watch.close();
          resolve(storage.getStore());
        });
      });
    });
    expect(store).toBeUndefined();
  });
}

test('a handle of the loop owns what it watches, and closes it', () => {
  const event = readyEvent();
  const handle = watchFdAlone(event.fd, () => {});
  const path = `/proc/self/fd/${handle.fd}`;
  event.close();
  expect(readlinkSync(path)).toBe('anon_inode:[eventfd]');
  handle.close();
  expect(() => readlinkSync(path)).toThrow(/ENOENT/);
});

test('a descriptor that is none is refused, and nothing is left of its handle', () => {
  const next = () => {
    using event = readyEvent();
    return event.fd;
  };
  const before = next();
  expect(() => watchFdAlone(-1, () => {})).toThrow(expect.objectContaining({ code: 'EBADF' }));
  expect(next()).toBe(before);
});
