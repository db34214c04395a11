import { onlyKnownKeys, SpecError, UnavailableError } from '@ns/libc';
import type { Directories } from './directories.ts';
import type { CgroupDirectory } from './directory.ts';
import { CgroupGoneError } from './errors.ts';
import { watchV1Event } from './event-fd.ts';
import { EventStream } from './event-stream.ts';
import { parseFlatKeyed } from './keyed-files.ts';
import { type PressureTrigger, parsePressureTrigger, watchPressure } from './psi-trigger.ts';
import { parseSize, type Size } from './size.ts';
import { waitUntil } from './wait-for.ts';
import { watchEmpty } from './watch-empty.ts';
import { watchFile } from './watch-file.ts';

/** Something that happened to a cgroup. Counts are totals since it was made. */
export type CgroupEvent =
  /** The first process came in, or the last one ended. On v1 coming in is seen when it was by `add`. */
  | { readonly type: 'populated'; readonly populated: boolean }
  | { readonly type: 'frozen'; readonly frozen: boolean }
  /** `low`: reclaimed below its protection; `high`: throttled; `max`: the hard limit was hit. v2 only. */
  | { readonly type: 'low' | 'high' | 'max'; readonly count: number }
  /** No memory could be reclaimed. v1 counts nothing here, `count` is that of the events seen. */
  | { readonly type: 'oom'; readonly count: number }
  /** Processes killed for memory, in the cgroup or below. */
  | { readonly type: 'oom_kill'; readonly count: number }
  /**
   * A fork was refused: by the `pids.max` of this cgroup or of one beneath, as v2 counts since 6.11; before, and on v1, to a
   * process in this very cgroup, whichever limit it was. v1 tells of it from 4.8 to 6.10: since then the kernel only counts,
   * in `stats().pids.refused`.
   */
  | { readonly type: 'pids_max'; readonly count: number }
  /** A trigger fired. `windowMs` as it was granted. */
  | ({ readonly type: 'pressure' } & Required<PressureTrigger>)
  /** v1's reclaim is at work: `memory.pressure_level`. */
  | { readonly type: 'memory_pressure'; readonly level: 'low' | 'medium' | 'critical' }
  /** v1: usage crossed a threshold, in either direction. */
  | { readonly type: 'memory_usage'; readonly thresholdBytes: number }
  /** The cgroup is gone; the stream ends. */
  | { readonly type: 'removed' };

/** What to watch besides the events that cost nothing. */
export interface EventsOptions {
  /** PSI triggers, `{ resource: 'memory', stallMs: 150, windowMs: 1000 }`. Needs a v2 tree and PSI. */
  readonly pressure?: readonly PressureTrigger[];
  /** v1 only, where PSI is absent: the level from which reclaim is reported. */
  readonly memoryPressureLevel?: 'low' | 'medium' | 'critical';
  /** v1 only: usages whose crossing is reported. */
  readonly memoryUsage?: readonly Size[];
  /** Whether whoever waits for the next one keeps the event loop alive. Default: true. */
  readonly persistent?: boolean;
  readonly signal?: AbortSignal;
}

/** The event streams of one cgroup. */
export class Watchers {
  readonly streams: Set<EventStream<CgroupEvent>> = new Set();
  /** Called when a process was added, which v1 does not tell. */
  readonly onJoin: Set<() => void> = new Set();

  [Symbol.dispose](): void {
    for (const stream of [...this.streams]) stream[Symbol.dispose]();
  }
}

const optionKeys = ['pressure', 'memoryPressureLevel', 'memoryUsage', 'persistent', 'signal'];
const levels: readonly unknown[] = ['low', 'medium', 'critical'];

function checkOptions(options: Record<string, unknown>): void {
  const { memoryPressureLevel: level, persistent, signal } = options;
  for (const key of ['pressure', 'memoryUsage'])
    if (options[key] !== undefined && !Array.isArray(options[key]))
      throw new SpecError(`events.${key}`, 'an array', options[key]);
  if (level !== undefined && !levels.includes(level))
    throw new SpecError('events.memoryPressureLevel', `one of ${levels.join(', ')}`, level);
  if (persistent !== undefined && typeof persistent !== 'boolean')
    throw new SpecError('events.persistent', 'true or false', persistent);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new SpecError('events.signal', 'an AbortSignal', signal);
}

/** Begins to watch. */
export function watchEvents(
  directories: Directories,
  watchers: Watchers,
  options: EventsOptions,
): EventStream<CgroupEvent> {
  onlyKnownKeys(options, optionKeys, 'events');
  checkOptions(options);
  const triggers = (options.pressure ?? []).map((trigger, index) =>
    parsePressureTrigger(trigger, `events.pressure[${index}]`),
  );
  const abort = (): void => void stream.return();
  const stream = new EventStream<CgroupEvent>(() => {
    options.signal?.removeEventListener('abort', abort);
    watchers.onJoin.delete(onJoin);
    watchers.streams.delete(stream);
  }, options.persistent);
  const watching: Watching = {
    stream,
    removed() {
      stream.push('removed', { type: 'removed' });
      stream.end();
    },
  };
  const onJoin = directories.unified ? () => {} : followMembers(directories, watching);
  watchers.onJoin.add(onJoin);
  watchers.streams.add(stream);
  options.signal?.addEventListener('abort', abort);
  if (options.signal?.aborted) abort();
  try {
    if (directories.unified) watchCgroupEvents(directories.unified, watching);
    watchMemory(directories.of('memory'), watching, options);
    watchPidsMax(directories.of('pids'), watching);
    for (const trigger of triggers) {
      if (!directories.unified) throw noUnifiedTree();
      const key = `pressure ${trigger.resource} ${trigger.kind} ${trigger.stallMs}`;
      stream.own(
        watchPressure(directories.unified, trigger, (granted) => stream.push(key, { type: 'pressure', ...granted })),
      );
    }
  } catch (error) {
    stream.end();
    throw error;
  }
  return stream;
}

function noUnifiedTree(): UnavailableError {
  return new UnavailableError(
    'pressure stall information',
    'it is counted in a cgroup v2 tree only',
    'On v1 use memoryPressureLevel',
  );
}

interface Watching {
  readonly stream: EventStream<CgroupEvent>;
  removed(): void;
}

/** Calls back for each key of a flat keyed file whose value changed since the last look. */
function watchCounters(
  directory: CgroupDirectory,
  file: string,
  watching: Watching,
  onChange: (key: string, value: number) => void,
): void {
  let last: ReadonlyMap<string, number> | undefined;
  const watch = watchFile(directory, file, (text) => {
    if (text === undefined) {
      watching.removed();
      return;
    }
    const values = parseFlatKeyed(text);
    for (const [key, value] of values) if (last && last.get(key) !== value) onChange(key, value);
    last = values;
  });
  watching.stream.own(watch);
}

function watchCgroupEvents(unified: CgroupDirectory, watching: Watching): void {
  watchCounters(unified, 'cgroup.events', watching, (key, value) => {
    if (key === 'populated') watching.stream.push(key, { type: 'populated', populated: value === 1 });
    if (key === 'frozen') watching.stream.push(key, { type: 'frozen', frozen: value === 1 });
  });
}

const memoryTypes = ['low', 'high', 'max', 'oom', 'oom_kill'] as const;

function watchMemory(memory: CgroupDirectory | undefined, watching: Watching, options: EventsOptions): void {
  if (memory?.hierarchy.version === 2) {
    watchCounters(memory, 'memory.events', watching, (key, count) => {
      const type = memoryTypes.find((name) => name === key);
      if (type) watching.stream.push(type, { type, count });
    });
  } else if (memory) watchV1Memory(memory, watching, options);
  const v1Only = options.memoryPressureLevel ?? options.memoryUsage;
  if (v1Only !== undefined && memory?.hierarchy.version !== 1) {
    throw new SpecError(
      'events',
      'a cgroup in the v1 memory tree for memoryPressureLevel and memoryUsage',
      v1Only,
      'On v2 use pressure and memory.high',
    );
  }
}

/** How long after v1 reported an out-of-memory the kill may take to be counted. */
const killFollowsWithinMs = 2_000;

function watchV1Memory(memory: CgroupDirectory, { stream, removed }: Watching, options: EventsOptions): void {
  const kills = (): number => {
    try {
      return parseFlatKeyed(memory.read('memory.oom_control') ?? '').get('oom_kill') ?? 0;
    } catch (error) {
      if (error instanceof CgroupGoneError) return 0;
      throw error;
    }
  };
  let ooms = 0;
  let reported = kills();
  const onOom = (gone: boolean): void => {
    if (gone) {
      removed();
      return;
    }
    stream.push('oom', { type: 'oom', count: ++ooms });
    // v1 tells before it kills, and does not tell when it did.
    void waitUntil(() => stream.ended || kills() > reported, killFollowsWithinMs).then((killed) => {
      if (!killed || stream.ended) return;
      const count = kills();
      if (count <= reported) return; // another look, begun by the next event, said so
      reported = count;
      stream.push('oom_kill', { type: 'oom_kill', count });
    });
  };
  stream.own(watchV1Event(memory, 'memory.oom_control', '', onOom));
  const level = options.memoryPressureLevel;
  if (level) {
    stream.own(
      watchV1Event(memory, 'memory.pressure_level', level, (gone) => {
        if (gone) removed();
        else stream.push('memory_pressure', { type: 'memory_pressure', level });
      }),
    );
  }
  for (const [index, threshold] of (options.memoryUsage ?? []).entries()) {
    const thresholdBytes = parseSize(threshold, `events.memoryUsage[${index}]`);
    stream.own(
      watchV1Event(memory, 'memory.usage_in_bytes', String(thresholdBytes), (gone) => {
        if (gone) removed();
        else stream.push(`memory_usage ${thresholdBytes}`, { type: 'memory_usage', thresholdBytes });
      }),
    );
  }
}

function watchPidsMax(pids: CgroupDirectory | undefined, watching: Watching): void {
  if (!pids) return;
  watchCounters(pids, 'pids.events', watching, (key, count) => {
    if (key === 'max') watching.stream.push('pids_max', { type: 'pids_max', count });
  });
}

/** Pure v1: says when the last member ended; returns what to call when one was added. */
function followMembers(directories: Directories, { stream }: Watching): () => void {
  let following = false;
  const follow = (): boolean => {
    const watch = watchEmpty(directories.control, () => {
      following = false;
      stream.push('populated', { type: 'populated', populated: false });
    });
    stream.own(watch);
    following = watch !== undefined;
    return following;
  };
  follow();
  return () => {
    if (!following && follow()) stream.push('populated', { type: 'populated', populated: true });
  };
}
