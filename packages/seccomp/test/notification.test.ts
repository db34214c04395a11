import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { eventfd } from '@ns/libc';
import { NotificationChannel } from '../src/notification.ts';

test('a signal of this process, such as that a child has ended, is no news of a listener', async () => {
  using listener = eventfd();
  const channel = new NotificationChannel(listener);
  // Node handles SIGCHLD for as long as it has a child.
  const child = spawn('/bin/sh', ['-c', `while kill -CHLD ${process.pid}; do :; done`], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  try {
    const deadline = performance.now() + 1000;
    const states = new Set<string>();
    while (performance.now() < deadline) states.add(channel.poll());
    expect([...states]).toEqual(['empty']);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
});
