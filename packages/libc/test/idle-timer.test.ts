import { IdleTimer } from '../src/index.ts';

const { jest } = import.meta;

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test('calls back once, one to two periods after the last use', () => {
  let calls = 0;
  const timer = new IdleTimer(
    () => 100,
    () => calls++,
  );
  timer.use();
  for (let i = 0; i < 5; i++) {
    jest.advanceTimersByTime(70);
    timer.use();
  }
  expect(calls).toBe(0);
  jest.advanceTimersByTime(99);
  expect(calls).toBe(0);
  jest.advanceTimersByTime(101);
  expect(calls).toBe(1);
  jest.advanceTimersByTime(1000);
  expect(calls).toBe(1);
});

test('stopped, it is silent until it is used again', () => {
  let calls = 0;
  const timer = new IdleTimer(
    () => 100,
    () => calls++,
  );
  timer.use();
  timer.stop();
  jest.advanceTimersByTime(1000);
  expect(calls).toBe(0);
  timer.use();
  jest.advanceTimersByTime(200);
  expect(calls).toBe(1);
});
