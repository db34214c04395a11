// What bench/src/main-thread.ts starts: measures starts in a process whose turns are timed, and sends what it finds.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '@ns/core';
import { type Turn, Turns } from './event-loop-turns.ts';

const WARM_UP = 300;
/** So many that a hundredth of them is more than a handful. */
const STARTS = 1_000;
/** What is compared with them, and does not need as many. */
const REFERENCES = 250;
const PAUSE_MS = 10;
/** About as long as a start takes. */
const START_MS = 5;
const MORE = 1_000;
const AT_ONCE = 64;

/** Milliseconds, one for each start. */
export interface HeldSamples {
  readonly call: readonly number[];
  /** Each start's longest turn; the first counts from the call. */
  readonly longestTurn: readonly number[];
  /** Most processor time of one turn. */
  readonly longestTurnCpu: readonly number[];
  /** All turns of a start. */
  readonly turns: readonly number[];
  readonly idleTurn: readonly number[];
  /** What monitorEventLoopDelay reports at most during a start, and during as long a time without one. */
  readonly delay: readonly number[];
  readonly idleDelay: readonly number[];
}

/** What the process sends. */
export interface HeldReport {
  readonly young: HeldSamples;
  /** The same process after MORE starts, AT_ONCE at a time. */
  readonly old: HeldSamples;
  readonly counts: { readonly warmUp: number; readonly starts: number; readonly more: number; readonly atOnce: number };
}

using turns = new Turns();

async function measure(): Promise<HeldSamples> {
  const call: number[] = [];
  const starts = await spaced(async () => {
    const before = performance.now();
    const process = run('/bin/true');
    call.push(performance.now() - before);
    await process;
  }, STARTS);
  const idle = await spaced(async () => {}, REFERENCES);
  const delay: number[] = [];
  const idleDelay: number[] = [];
  for (let i = 0; i < REFERENCES; i++) {
    delay.push(...(await delayDuring(() => run('/bin/true'))));
    idleDelay.push(...(await delayDuring(() => sleep(START_MS))));
  }
  return {
    call,
    longestTurn: starts.map((all) => Math.max(...all.map(milliseconds))),
    longestTurnCpu: starts.map((all) => Math.max(...all.map(({ cpu }) => cpu / 1e6))),
    turns: starts.map((all) => all.reduce((sum, turn) => sum + milliseconds(turn), 0)),
    idleTurn: idle.map((all) => Math.max(...all.map(milliseconds))),
    delay,
    idleDelay,
  };
}

/** Does something many times with pauses between; for each time its turns, up to the next time. The first is cut to begin with it. */
async function spaced(act: () => Promise<void>, times: number): Promise<Turn[][]> {
  turns.take();
  const begins: number[] = [];
  for (let i = 0; i < times; i++) {
    await sleep(PAUSE_MS);
    begins.push(Number(process.hrtime.bigint()));
    await act();
  }
  await sleep(PAUSE_MS);
  const all = turns.take();
  return begins.map((from, i) => {
    const to = begins[i + 1] ?? Number.POSITIVE_INFINITY;
    return all
      .filter(({ end }) => end > from && end < to)
      .map((turn) => ({ ...turn, begin: Math.max(turn.begin, from) }));
  });
}

function milliseconds({ begin, end }: Turn): number {
  return (end - begin) / 1e6;
}

/** The most that the monitor has seen; nothing when it has seen nothing. */
async function delayDuring(act: () => PromiseLike<unknown>): Promise<number[]> {
  await sleep(PAUSE_MS);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await act();
  delay.disable();
  return delay.count > 0 ? [delay.max / 1e6] : [];
}

for (let i = 0; i < WARM_UP; i++) await run('/bin/true');
const young = await measure();
let started = 0;
const startMore = async () => {
  while (started++ < MORE) await run('/bin/true');
};
await Promise.all(Array.from({ length: AT_ONCE }, startMore));
const old = await measure();
const counts = { warmUp: WARM_UP, starts: STARTS, more: MORE, atOnce: AT_ONCE };
process.send!({ young, old, counts } satisfies HeldReport);
process.disconnect();
