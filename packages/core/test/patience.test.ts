import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  interruptibly,
  interruptiblyEach,
  type Patience,
  patiently,
  patientlyInTurn,
  patientlyMade,
  splitPatience,
} from '../src/patience.ts';

const never = () => new Promise<never>(() => {});
const later = <T>(value: T, ms: number) => new Promise<T>((resolve) => setTimeout(resolve, ms, value));
const reason = new Error('enough');

test('without limits it is as if nobody had asked', async () => {
  expect(await patiently('it', {}, async () => 1)).toBe(1);
  await expect(patiently('it', {}, () => Promise.reject(reason))).rejects.toBe(reason);
});

test('time that is up, and a signal', async () => {
  const timedOut = { code: 'ERR_NS_TIMEOUT', message: expect.stringMatching(/^the work took more than 5 ms\. /) };
  await expect(patiently('the work', { timeout: 5 }, never)).rejects.toMatchObject(timedOut);
  const controller = new AbortController();
  const waiting = patiently('it', { signal: controller.signal }, never);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  expect(await patiently('it', { timeout: 60_000, signal: new AbortController().signal }, () => later(2, 5))).toBe(2);
});

test('what was given up before is not begun', async () => {
  let begun = 0;
  const act = async () => ++begun;
  for (const wait of [patiently, patientlyInTurn, interruptibly])
    await expect(wait('it', { signal: AbortSignal.abort(reason) }, act)).rejects.toBe(reason);
  await expect(patientlyMade('it', { signal: AbortSignal.abort(reason) }, act, act)).rejects.toBe(reason);
  expect(begun).toBe(0);
});

test('of many calls at once each begins in a turn of the event loop of its own, in the order of the calls', async () => {
  const begun: string[] = [];
  for (const call of ['start', 'stop', 'remove'])
    void patientlyInTurn(
      call,
      {},
      async () => {
        begun.push(call);
        // As long as several would share a turn.
        for (const end = performance.now() + 2; performance.now() < end; );
      },
      'one thing',
    );
  expect(begun).toEqual([]);
  for (const soFar of [['start'], ['start', 'stop'], ['start', 'stop', 'remove']]) {
    await nextTurn();
    expect(begun).toEqual(soFar);
  }
});

test('what is made too late is undone first', async () => {
  const undone: string[] = [];
  const undo = async (made: string) => undone.push(made);
  await expect(patientlyMade('it', { timeout: 1 }, () => later('a thing', 20), undo)).rejects.toThrow('it took more');
  expect(undone).toEqual(['a thing']);
  await expect(patientlyMade('it', {}, () => Promise.reject(reason), undo)).rejects.toBe(reason);
  expect(await patientlyMade('it', { timeout: 60_000 }, async () => 'another', undo)).toBe('another');
  expect(undone).toEqual(['a thing']);
});

test('what heeds a signal is told to stop, and waited for', async () => {
  let ended = false;
  const heeding = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    ended = true;
    throw signal.reason;
  };
  await expect(interruptibly('it', { timeout: 1 }, heeding)).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(ended).toBe(true);
});

test('what comes piece by piece has its time from when somebody asks for the first', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const before = timers();
  const untilAborted = (signal?: AbortSignal) =>
    (async function* () {
      yield 1;
      await new Promise((resolve) => signal!.addEventListener('abort', resolve));
    })();
  const values = interruptiblyEach('it', { timeout: 5 }, untilAborted);
  await later('nobody has asked', 20);
  interruptiblyEach('it', { timeout: 60_000 }, untilAborted);
  expect(timers()).toBe(before);
  const seen: number[] = [];
  const reading = (async () => {
    for await (const value of values) seen.push(value);
  })();
  await expect(reading).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(seen).toEqual([1]);
});

test('patience is told from other options', () => {
  const { signal } = new AbortController();
  expect(splitPatience({ force: true, signal, timeout: 5 })).toEqual({
    patience: { signal, timeout: 5 },
    rest: { force: true },
  });
  expect(splitPatience<Patience & { force: boolean }>({ force: true })).toEqual({
    patience: {},
    rest: { force: true },
  });
});
