import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { hasCode, holdBriefly, UnavailableError } from '@ns/libc';
import * as v from 'valibot';
import type { ContainerState } from './container-state.ts';
import { fromStoredText } from './stored-spec.ts';

/** The format of today. */
export const VERSION = 2;

/** How a state of an older version becomes one of the next: containers outlive upgrades of this library. */
const upgrades: Readonly<Record<number, (state: object) => object>> = {
  1: (state) => ({ ...state, version: 2, stopRequested: false }),
};

/** A process, or a thread, as it is on disk. */
export const identity = v.looseObject({ pid: v.pipe(v.number(), v.integer(), v.minValue(1)), startTime: v.number() });
const idRange = v.looseObject({ start: v.number(), size: v.number() });

/* What everything below relies on; the specification has been checked when the container was made, by its version of the
   library. */
const schema = v.looseObject({
  version: v.literal(VERSION),
  id: v.string(),
  name: v.optional(v.string()),
  labels: v.record(v.string(), v.string()),
  command: v.array(v.string()),
  createdAt: v.pipe(
    v.string(),
    v.check((time) => !Number.isNaN(Date.parse(time))),
  ),
  owner: identity,
  monitor: v.optional(identity),
  init: v.optional(identity),
  userNetwork: v.optional(identity),
  userPorts: v.optional(v.array(v.looseObject({ protocol: v.string(), hostPort: v.number(), port: v.number() }))),
  status: v.picklist(['created', 'running', 'paused', 'stopped', 'removed']),
  stopRequested: v.boolean(),
  detachable: v.boolean(),
  ids: v.optional(v.looseObject({ uids: idRange, gids: idRange })),
  ending: v.optional(v.looseObject({ reason: v.string() })),
  ended: v.optional(identity),
  cgroup: v.optional(v.string()),
  spec: v.looseObject({ command: v.array(v.string()) }),
});

/**
 * The state in a file.
 *
 * @param id - whose it has to be
 * @returns undefined where there is none that we understand: of a newer version, or what a crash or somebody else left
 * @throws UnavailableError when this process can open no more files
 */
export function readStoredState(path: string, id: string): ContainerState | undefined {
  let state = readJson(path);
  for (let upgrade = upgradeOf(state); upgrade; upgrade = upgradeOf(state)) state = upgrade(state as object);
  const { success, output } = v.safeParse(schema, state, { abortEarly: true });
  return success && output.id === id ? (output as ContainerState) : undefined;
}

/** Who makes the container that a draft is of. */
export function readMaker(path: string): ContainerState['owner'] | undefined {
  const { success, output } = v.safeParse(v.looseObject({ owner: identity }), readJson(path));
  return success ? output.owner : undefined;
}

/** Is there one, if only for a newer version of this library? */
export function hasState(path: string, id: string): boolean {
  return versionOf(readJson(path)) > VERSION || readStoredState(path, id) !== undefined;
}

function upgradeOf(state: unknown): ((state: object) => object) | undefined {
  return upgrades[versionOf(state)];
}

function versionOf(state: unknown): number {
  return Number((state as { version?: unknown } | null)?.version);
}

/** What is in a file: neither of what a link leads to, nor of a FIFO that nobody writes to. */
export function readJson(path: string): unknown {
  try {
    const fd = holdBriefly(() => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
    try {
      return fromStoredText(readFileSync(fd, 'utf8'));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    // What cannot be looked at now is there all the same.
    if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM'))
      throw new UnavailableError(
        'another open file',
        `${path} could not be read: ${(error as Error).message}`,
        'Raise RLIMIT_NOFILE of this process, or close what is not needed',
      );
    return undefined;
  }
}
