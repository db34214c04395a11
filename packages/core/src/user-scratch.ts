import { text } from 'node:stream/consumers';
import { helperName, type IdMaps, launch, type Step } from '@ns/launch';
import { NsError, O, type OwnedFd, open, ResourceStack, UnavailableError } from '@ns/libc';
import type { FirstFiles } from './container-overlays.ts';
import type { Scratch } from './scratch.ts';

/* What an ordinary user does by a process that is root in a user namespace of his: nowhere else may he mount, and nowhere
   else are the ids his that his containers have besides his own. */

/**
 * A scratch file system with copies of upper layers. It belongs to a user namespace with the maps of the container that will
 * have it: all its ids are that one's as well. cp(1) of coreutils copies, with capabilities over these ids and no others.
 *
 * @param options - those of its tmpfs
 * @throws UnavailableError the files have ids that the maps do not have; or there is no such cp
 * @throws NsError `ERR_NS_FORK`: not everything could be copied
 */
export async function newUserScratch(
  options: Readonly<Record<string, string>>,
  idMaps: IdMaps,
  files: readonly FirstFiles[],
): Promise<Scratch> {
  for (const { idMaps: before } of files) {
    if (before && sameIds(before, idMaps)) continue;
    throw new UnavailableError(
      'fork()',
      'the two containers have not the same ids, and an ordinary user cannot give files to others',
      "Leave idMap: 'auto' out, or commit() this one and create others with that layer on top of its own: rootfs: { layers: [layer.path, …] }",
    );
  }
  using owner = new ResourceStack();
  const { scratch, user } = await makeScratch(options, idMaps);
  owner.use(user);
  using rollback = new ResourceStack();
  rollback.use(scratch);
  for (const { upper, scratchName } of files) {
    using from = open(upper, O.PATH | O.DIRECTORY);
    await copy(user, from, scratch, `${scratchName}.upper`);
  }
  rollback.release();
  return { fd: scratch, covered: false };
}

/** A detached tmpfs, and the new user namespace it belongs to. */
async function makeScratch(
  options: Readonly<Record<string, string>>,
  idMaps: IdMaps,
): Promise<{ scratch: OwnedFd; user: OwnedFd }> {
  const helper = launch({
    stdio: ['null', 'null', 'null'],
    steps: [
      ...asHelper(),
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: ['mnt'],
        idMaps,
        child: [
          { op: 'dieWithParent' },
          { op: 'umask', mask: 0 },
          { op: 'propagation', propagation: 'rslave' },
          { op: 'mountScratch', options, handOver: true },
          { op: 'park' },
        ],
      },
    ],
  });
  using owner = new ResourceStack();
  owner.defer(() => helper.pidfd?.close());
  using rollback = new ResourceStack();
  const made = async () => {
    const scratch = rollback.use(await helper.scratch);
    await helper.ready;
    const user = rollback.use(open(`/proc/${await helper.started}/ns/user`, O.RDONLY));
    return { scratch, user };
  };
  try {
    const both = await Promise.race([made(), helper.exited.then(({ failure }) => Promise.reject(failure))]);
    rollback.release();
    return both;
  } finally {
    helper.kill();
    await helper.exited;
  }
}

const programs = ['/usr/bin/cp', '/bin/cp'];

async function copy(user: OwnedFd, from: OwnedFd, to: OwnedFd, name: string): Promise<void> {
  const everything = '--preserve=mode,ownership,timestamps,links,xattr';
  const argv = ['cp', '-dR', everything, '--reflink=auto', '-T', '/proc/self/fd/3/.', `/proc/self/fd/4/${name}`];
  const helper = launch({
    stdio: ['null', 'null', 'pipe'],
    fds: { user: user.fd },
    extraFds: [from.fd, to.fd],
    steps: [
      ...asHelper(),
      { op: 'setns', fd: 'user', namespaces: ['user'] },
      { op: 'credentials', uid: 0, gid: 0 },
      { op: 'umask', mask: 0 },
      { op: 'closeFds' },
      { op: 'unblockSignals' },
      { op: 'exec', candidates: programs, argv, env: ['PATH=/usr/bin:/bin', 'LC_ALL=C'] },
    ],
  });
  using owner = new ResourceStack();
  owner.defer(() => helper.pidfd?.close());
  const [said, { exitCode, signal, failure }] = await Promise.all([text(helper.stderr!), helper.exited]);
  if (failure?.step?.op === 'exec' || /^\S+: (unrecognized|unknown|invalid) option|^Usage:/.test(said))
    throw new UnavailableError(
      'fork()',
      `an ordinary user's files are copied by cp of coreutils, which is not at ${programs.join(' or ')}`,
      'Install coreutils',
    );
  if (failure) throw failure;
  if (exitCode === 0) return;
  throw new NsError(
    'ERR_NS_FORK',
    `the changes could not be copied: ${said.trim().split('\n')[0] || `cp was ended by ${signal}`}`,
    {
      hint: 'Stop or pause the container meanwhile, and give the copies as much room as it has: writable: { size }',
    },
  );
}

/** Ends with us, and cannot be looked into by a container. */
function asHelper(): Step[] {
  return [
    { op: 'endWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-fork') },
  ];
}

function sameIds(one: IdMaps, other: IdMaps): boolean {
  const ids = ({ uids, gids }: IdMaps) => JSON.stringify([uids, gids]);
  return ids(one) === ids(other);
}
