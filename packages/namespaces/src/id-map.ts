import { readFileSync } from 'node:fs';
import type { IdRange } from '@ns/launch';
import { O, onlyKnownKeys, open, SpecError } from '@ns/libc';

/** Ids are 32 bits, and the last of them, (uid_t) -1, is no id. */
const ID_END = 0xffffffff;

/** UID_GID_MAP_MAX_EXTENTS, since 4.15; 5 before. */
export const MAX_RANGES = 340;

// The kernel takes a map in one write of less than a page (map_write in kernel/user_namespace.c).
const MAX_BYTES = 4096;

/**
 * A user namespace's map of uids or gids: an immutable list of ranges, checked by the kernel's own rules (user_namespaces(7)).
 *
 * @example
 * ```ts
 * const map = IdMap.of([{ container: 0, host: 100000, size: 65536 }]);
 * map.toHost(33); // 100033
 * map.toString(); // '0 100000 65536\n'
 * ```
 */
export class IdMap {
  /** Frozen, in the order in which they were given. */
  readonly ranges: readonly IdRange[];

  private constructor(ranges: readonly IdRange[]) {
    this.ranges = Object.freeze(ranges.map((range) => Object.freeze({ ...range })));
    Object.freeze(this);
  }

  /**
   * @param field - what to call the list in an error
   * @throws SpecError for no range or more than 340, a size of 0, numbers beyond 32 bits, ids that are mapped twice on either
   *   side, and a map whose text has 4096 bytes or more
   */
  static of(ranges: readonly IdRange[], field = 'idMap'): IdMap {
    if (!Array.isArray(ranges) || ranges.length === 0) throw new SpecError(field, 'at least one range', ranges);
    if (ranges.length > MAX_RANGES) throw new SpecError(field, `at most ${MAX_RANGES} ranges`, ranges);
    ranges.forEach((range, index) => void checkRange(range, `${field}[${index}]`));
    checkOverlap(ranges, 'container', field);
    checkOverlap(ranges, 'host', field);
    const map = new IdMap(ranges);
    if (map.toString().length >= MAX_BYTES) {
      throw new SpecError(
        field,
        `ranges that take less than ${MAX_BYTES} bytes as text`,
        ranges,
        'Join neighbouring ranges',
      );
    }
    return map;
  }

  /** One range of `size` ids (default 1): `container` and up are `host` and up outside. */
  static single(container: number, host: number, size = 1): IdMap {
    return IdMap.of([{ container, host, size }]);
  }

  /**
   * Reads the text of `/proc/PID/uid_map`, and of a map as newuidmap takes it.
   *
   * @throws SpecError for a line that is not three numbers, and as {@link IdMap.of}
   */
  static parse(text: string, field = 'idMap'): IdMap {
    if (typeof text !== 'string') throw new SpecError(field, 'the text of a map', text);
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    const ranges = lines.map((line, index) => {
      const match = /^\s*(\d{1,10})\s+(\d{1,10})\s+(\d{1,10})\s*$/.exec(line);
      if (!match)
        throw new SpecError(`${field}[${index}]`, 'three numbers: first id inside, first id outside, size', line);
      const [container, host, size] = match.slice(1).map(Number);
      return { container: container!, host: host!, size: size! };
    });
    return IdMap.of(ranges, field);
  }

  /**
   * The map of a process's user namespace. "Outside" is our own user namespace, or the parent's when it is the same.
   *
   * @returns `undefined` when none has been written yet
   * @throws SyscallError `ENOENT` when there is no such process
   */
  static read(pid: number | 'self', ids: 'uid' | 'gid'): IdMap | undefined {
    if (pid !== 'self' && !(Number.isInteger(pid) && pid > 0))
      throw new SpecError('pid', "a process id or 'self'", pid);
    if (ids !== 'uid' && ids !== 'gid') throw new SpecError('ids', "'uid' or 'gid'", ids);
    const path = `/proc/${pid}/${ids}_map`;
    using file = open(path, O.RDONLY);
    const text = readFileSync(file.fd, 'latin1');
    return text.trim() === '' ? undefined : IdMap.parse(text, path);
  }

  /** How many ids are mapped. */
  get size(): number {
    return this.ranges.reduce((sum, { size }) => sum + size, 0);
  }

  /** The id outside for an id inside; `undefined` for one that is not mapped. */
  toHost(id: number): number | undefined {
    const range = this.ranges.find(({ container, size }) => id >= container && id < container + size);
    return range && range.host + (id - range.container);
  }

  /** The id inside for an id outside; `undefined` for one that is not mapped (files of such show as 65534). */
  toContainer(id: number): number | undefined {
    const range = this.ranges.find(({ host, size }) => id >= host && id < host + size);
    return range && range.container + (id - range.host);
  }

  /** The text for `/proc/PID/uid_map`: one line a range. */
  toString(): string {
    return this.ranges.map(({ container, host, size }) => `${container} ${host} ${size}\n`).join('');
  }

  /** The ranges, as the `idMap` option of a container has them. */
  toJSON(): readonly IdRange[] {
    return this.ranges;
  }
}

function checkRange(range: IdRange, field: string): void {
  onlyKnownKeys(range, ['container', 'host', 'size'], field);
  for (const side of ['container', 'host'] as const) {
    const first = range[side];
    if (!Number.isInteger(first) || first < 0 || first >= ID_END)
      throw new SpecError(`${field}.${side}`, `an id, 0 to ${ID_END - 1}`, first);
  }
  const { size } = range;
  if (!Number.isInteger(size) || size <= 0) throw new SpecError(`${field}.size`, 'a positive integer', size);
  if (Math.max(range.container, range.host) + size > ID_END) {
    throw new SpecError(`${field}.size`, `a range that ends at ${ID_END - 1} or before`, size);
  }
}

function checkOverlap(ranges: readonly IdRange[], side: 'container' | 'host', field: string): void {
  const sorted = [...ranges].sort((a, b) => a[side] - b[side]);
  sorted.forEach((range, index) => {
    const before = sorted[index - 1];
    if (before && before[side] + before.size > range[side]) {
      throw new SpecError(
        field,
        `ranges that do not overlap on the ${side} side`,
        `${range[side]}, which is in two of them`,
      );
    }
  });
}
