import { RestartCounter, type RestartPolicy } from '../src/restart-policy.ts';

const failed = { exitCode: 1, reason: 'exit', durationMs: 5 } as const;
const succeeded = { exitCode: 0, reason: 'exit', durationMs: 5 } as const;

test.each<[RestartPolicy, number, number]>([
  ['no', 0, 0],
  ['on-failure', 0, 8],
  ['on-failure:3', 0, 3],
  ['always', 8, 8],
  ['unless-stopped', 8, 8],
])('%s restarts %d times after success and %d after failure', (policy, afterSuccess, afterFailure) => {
  const count = (result: typeof failed | typeof succeeded) => {
    const counter = new RestartCounter(policy);
    return Array.from({ length: 8 }, () => counter.next(result)).filter(Boolean).length;
  };
  expect(count(succeeded)).toBe(afterSuccess);
  expect(count(failed)).toBe(afterFailure);
});

test('pauses double from 100 ms to a minute, and begin anew after a long run', () => {
  const counter = new RestartCounter('always');
  const delays = Array.from({ length: 12 }, () => counter.next(failed)!.delayMs);
  expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
  expect(delays.at(-1)).toBe(60_000);
  expect(counter.next({ ...failed, durationMs: 10_000 })).toEqual({ attempt: 1, delayMs: 100 });
});

test('ends of our own making are not repaired', () => {
  for (const reason of ['timeout', 'abort', 'output-limit'] as const) {
    expect(new RestartCounter('always').next({ exitCode: null, reason, durationMs: 5 })).toBeUndefined();
  }
  expect(new RestartCounter('on-failure').next({ exitCode: null, reason: 'oom', durationMs: 5 })).toBeDefined();
});
