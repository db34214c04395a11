import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { leaveDescriptors } from '@ns/testing';
import { rest } from '../src/zygote.ts';

// A timer comes to rest: what it throws ends this process.
test.each([0, 1, 2])('with %d descriptors left, coming to rest is no error', async (left) => {
  const child = spawn('true');
  const exit = once(child, 'exit');
  // It has ended by then, and Node has not heard of it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  {
    using _limit = leaveDescriptors(left);
    rest();
  }
  expect(await exit).toEqual([0, null]);
});
