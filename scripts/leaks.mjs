// What a test run may leave behind in the kernel, looked at from outside: not our own bookkeeping but /proc and /sys.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Kinds of things that can leak: each lists what exists now as readable lines. */
const kinds = {
  mount: () =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => {
        const fields = line.split(' ');
        const type = fields[fields.indexOf('-') + 1];
        return `${type} on ${fields[4]} (root ${fields[3]})`;
      }),
  // systemd makes and removes units whenever it likes; ours are never named like one.
  cgroup: () =>
    directoriesBelow('/sys/fs/cgroup').filter(
      (path) => !/\.(slice|scope|service|socket|mount)(\/|$)/.test(path) && !isNextToOurs(path),
    ),
  'network namespace': () => list('/run/netns'),
  'network interface': () => list('/sys/class/net'),
  'state directory': () => list('/run/ns'),
};

/** What exists now, to compare with later. */
export function snapshot() {
  return Object.fromEntries(Object.entries(kinds).map(([kind, look]) => [kind, look()]));
}

/**
 * What exists now and did not before, as readable lines. The kernel tears namespaces and cgroups down a little later
 * than the processes in them, so it gets a moment.
 *
 * @param before - result of {@link snapshot}
 * @param marker - text in the environment of every process that the tests start
 */
export async function leaksSince(before, marker) {
  for (let attempt = 0; ; attempt++) {
    const leaks = Object.entries(kinds).flatMap(([kind, look]) =>
      without(look(), before[kind]).map((line) => `${kind}: ${line}`),
    );
    leaks.push(...strayProcesses(marker));
    if (leaks.length === 0 || attempt === 100) return leaks;
    await delay(100);
  }
}

/** Processes that execute the stage without an owner, or that inherited the tests' environment. */
function strayProcesses(marker) {
  const stray = [];
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const program = programOf(pid);
      const ours = isStage(program) ? !hasOwner(pid) : readFileSync(`/proc/${pid}/environ`).includes(marker);
      if (!ours) continue;
      stray.push(
        `process: ${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() || program}`,
      );
    } catch {
      // It ended while we looked, is a kernel thread, or belongs to somebody else.
    }
  }
  return stray;
}

/** Whether a process of the stage belongs to a Node process that still runs: not to one of the tests, which have ended. */
function hasOwner(pid) {
  let owner = pid;
  while (isStage(programOf(owner))) owner = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${owner}/status`, 'utf8'))[1];
  return owner !== '1' && programOf(owner) === process.execPath;
}

function isStage(program) {
  return program.startsWith('/memfd:ns-');
}

function programOf(pid) {
  return readlinkSync(`/proc/${pid}/exe`);
}

/** The lines of `now` that are not in `before`, counting repetitions: the same mount twice is one too many. */
function without(now, before) {
  const left = new Map();
  for (const line of before) left.set(line, (left.get(line) ?? 0) + 1);
  return now.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}

function directoriesBelow(path) {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => [`${path}/${entry.name}`, ...directoriesBelow(`${path}/${entry.name}`)]);
  } catch {
    // Removed while we looked.
    return [];
  }
}

/** Is it in a cgroup beside that of this process? Whoever started us there starts others. */
function isNextToOurs(path) {
  return ownCgroups().some(
    (own) =>
      path.startsWith(`${dirname(own)}/`) && path !== own && !path.startsWith(`${own}/`) && !/\/ns[-/]/.test(path),
  );
}

/** Directories of the cgroups of this process that are no roots, wherever their hierarchies are mounted. */
function ownCgroups() {
  const paths = readFileSync('/proc/self/cgroup', 'utf8').trimEnd().split('\n');
  return paths.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line);
    if (path === '/') return [];
    return [...controllers.split(',').map((name) => name.replace(/^name=/, '')), 'unified', '']
      .map((name) => join('/sys/fs/cgroup', name, path))
      .filter(existsSync);
  });
}

function list(path) {
  return existsSync(path) ? readdirSync(path) : [];
}
