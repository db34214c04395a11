import type { Step } from '@ns/launch';
import type { Host } from '../host.ts';
import { cgroupSteps } from '../plan/cgroup-steps.ts';
import { type ContainerDesign, lacksPlacesFor, sessionKeyringStep } from '../plan/container-plan.ts';
import { rootSteps } from '../plan/root-steps.ts';
import type { Checkpoint } from './checkpoint-directory.ts';
import { type Criu, networkLock } from './criu.ts';
import { NETWORK_KEY } from './dump.ts';

/** Numbers in CRIU of what the launch hands to it. The program's 0, 1 and 2 are there from `standard` on. */
export const criuFds = { images: 3, work: 4, network: 5, ending: 6, executable: 7, standard: 8 } as const;

/**
 * The steps that restore a container. Its root, and what it saw of the outside, are put together in a mount namespace
 * where CRIU finds them and nobody else; the rest CRIU makes: namespaces, its own file systems, processes.
 */
export function restorePlan(design: ContainerDesign, host: Host, criu: Criu, checkpoint: Checkpoint): readonly Step[] {
  const { root, files, scratch, namespaces } = design;
  const lacksPlaces = lacksPlacesFor(design, host);
  return [
    ...(design.dieWithParent ? [{ op: 'endWithParent', parent: process.pid } as const] : []),
    { op: 'newSession' },
    { op: 'processName', name: 'ns-monitor' },
    { op: 'notDumpable' },
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: ['pid', 'mnt'],
      ...(design.timeoutMs !== undefined && { timeoutMs: design.timeoutMs }),
      leftovers: design.leftovers,
      child: [
        { op: 'dieWithParent' },
        { op: 'processName', name: 'ns-restorer' },
        { op: 'newSession' },
        // Of those things that CRIU leaves to who calls it.
        sessionKeyringStep(design),
        { op: 'umask', mask: 0 },
        { op: 'propagation', propagation: 'rslave' },
        ...rootSteps(root, { files, scratch, idMaps: namespaces.idMaps, lacksPlaces }, host),
        ...design.mounts.filter(({ op }) => op === 'bind'),
        ...(lacksPlaces ? [{ op: 'readonlyRoot' } as const] : []),
        { op: 'stageRoot' },
        {
          op: 'clone',
          supervisor: 'restorer',
          namespaces: [],
          ...(design.cgroupFd && { intoCgroup: 'cgroup' }),
          ...(checkpoint.init && { ending: 'ending' }),
          child: [
            ...design.cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs })),
            ...(namespaces.created.includes('cgroup') ? [{ op: 'unshare', namespaces: ['cgroup'] } as const] : []),
            // Before 3.19 CRIU forgets it; what it makes inherits it.
            ...(design.noNewPrivileges ? [{ op: 'noNewPrivileges' } as const] : []),
            // What CRIU has to say, and nft through it, is not the program's output.
            { op: 'stdioNull', fds: [0, 1, 2] },
            { op: 'closeFds' },
            { op: 'unblockSignals' },
            {
              op: 'exec',
              candidates: [criu.path],
              argv: [criu.path, ...restoreArguments(design, criu, checkpoint)],
              env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
            },
          ],
        },
      ],
    },
  ];
}

function restoreArguments(design: ContainerDesign, criu: Criu, checkpoint: Checkpoint): string[] {
  const { pipes, init, mounts, tcpEstablished, fileLocks } = checkpoint;
  const inherited = [
    `fd[${criuFds.network}]:${NETWORK_KEY}`,
    ...pipes.map(({ fd, inode }) => `fd[${criuFds.standard + fd}]:pipe:[${inode}]`),
    ...(init ? [`fd[${criuFds.ending}]:pipe:[${init.pipe}]`, `fd[${criuFds.executable}]:${init.executable}`] : []),
  ];
  const sources = new Map(
    (design.visibleCgroup ? cgroupSteps(design.visibleCgroup) : []).flatMap((step) =>
      step.op === 'bind' && typeof step.source === 'string' ? [[step.target, step.source] as const] : [],
    ),
  );
  return [
    'restore',
    // Its parent, and nobody else, will be told of its end; and is whom the init dies with.
    ...['--restore-detached', '--restore-sibling', '--root', '/tmp/root'],
    ...['--images-dir', `/proc/self/fd/${criuFds.images}`, '--work-dir', `/proc/self/fd/${criuFds.work}`],
    ...['--log-file', 'restore.log', '-v4', '--manage-cgroups=ignore', '--network-lock', networkLock(criu)],
    ...inherited.flatMap((what) => ['--inherit-fd', what]),
    ...mounts.flatMap(({ key, target, what }) => [
      '--external',
      `mnt[${key}]:${{ cgroup: sources.get(target), empty: '/tmp/empty', root: `/tmp/root${target}` }[what]}`,
    ]),
    ...(tcpEstablished ? ['--tcp-established'] : []),
    ...(fileLocks ? ['--file-locks'] : []),
  ];
}
