import type { Step } from './lowering.ts';

type Descriptions = { readonly [Op in Step['op']]: (step: Extract<Step, { op: Op }>) => string };

const list = (items: readonly string[], most = 6) =>
  items.length > most ? `${items.slice(0, most).join(', ')} and ${items.length - most} more` : items.join(', ');
const attributes = (names: readonly string[]) => (names.length > 0 ? ` (${names.join(',')})` : '');
const mountOptions = (options: Readonly<Record<string, string | true>>) => {
  const text = Object.entries(options).map(([key, value]) => (value === true ? key : `${key}=${value}`));
  return text.length > 0 ? ` with ${text.join(',')}` : '';
};

/** What each step does, and why where that is not plain. */
const descriptions: Descriptions = {
  dieWithParent: () => 'be killed when the process above ends, even by SIGKILL',
  endWithParent: () => 'be told when the caller ends, even by SIGKILL, to end everything and leave nothing behind',
  newSession: () => 'start a session of its own, without a controlling terminal',
  processName: ({ name }) => `call the process ${name}`,
  notDumpable: () => 'refuse ptrace and /proc/PID/mem, before anything of the container can see this process',
  joinCgroup: ({ procs }) => `join the cgroup of ${procs}, before there is anything to account`,
  unshare: ({ namespaces }) => `leave for new namespaces: ${list(namespaces, 8)}`,
  setns: ({ fd, namespaces }) => `enter the ${list(namespaces, 8)} namespace of ${fd}`,
  timeOffsets: ({ monotonicNs, boottimeNs }) =>
    `shift the clocks by ${monotonicNs} ns (monotonic) and ${boottimeNs} ns (boot time)`,
  sessionKeyring: ({ name }) => `join the session keyring ${name}`,
  oomScoreAdj: ({ value }) => `set oom_score_adj to ${value}`,
  rlimit: ({ name, soft, hard }) => `limit ${name} to ${soft} (hard ${hard})`,
  umask: ({ mask }) => `set the umask to 0${mask.toString(8)}`,
  hostname: ({ name }) => `set the host name to ${name}`,
  domainname: ({ name }) => `set the domain name to ${name}`,
  linkUp: ({ name }) => `bring ${name} up`,
  openProc: () => 'open the procfs that is here, for kernel parameters',
  sysctl: ({ key, value }) => `set ${key} to ${value}`,
  lookUp: ({ paths }) => `look up ${paths.join(', ')}`,
  workingDirectory: ({ path, create }) =>
    `go to ${path}${create ? ', made if it is missing,' : ''} and check that it is inside the root`,
  stdioNull: ({ fds }) => `connect descriptor ${list(fds.map(String))} to the container's own /dev/null`,
  terminal: ({ rows, columns, console }) =>
    `open a terminal of ${columns}x${rows} in the container's own devpts${console ? ', which is /dev/console too,' : ''} and hand over its other side`,
  stdioOwner: ({ fds, uid, gid }) => `give descriptor ${list(fds.map(String))} to ${uid}:${gid}`,
  propagation: ({ propagation }) => `make every mount ${propagation}, so that nothing mounted here reaches the host`,
  mountScratch: ({ options, reuse }) =>
    reuse ? 'attach the scratch file system of the last start' : `make a scratch file system${mountOptions(options)}`,
  coverLayer: ({ directories, absent, files }) =>
    `cover ${list([...directories.map(({ path }) => path), ...absent], 12)} and place ${list(files.map(({ path }) => path))}`,
  mountOverlay: ({ target, layer, lower, upper, instead }) =>
    (layer === undefined
      ? `mount overlay of ${list(lower)} on ${target}${upper ? '' : ', without an upper layer'}`
      : `take an overlay of ${list(lower)} as the layer ${layer}`) +
    (instead ? `; where mounts below must be kept, ${describeStep(instead)}` : ''),
  emptyLayer: ({ directories }) =>
    `make a layer of empty directories: ${list(
      directories.map(({ path }) => path),
      20,
    )}`,
  bindRoot: ({ source, attributes: names, mount }) =>
    `use ${source} itself as the root${attributes(names)}${mount === undefined ? '' : ', with mapped ids'}`,
  mount: ({ type, target, options, attributes: names }) =>
    `mount ${type} on ${target}${attributes(names)}${mountOptions(options)}`,
  mountDev: ({ nodes }) =>
    `mount a tmpfs on /dev with ${list(
      nodes.map(({ name }) => name),
      12,
    )}`,
  bind: ({ source, target, attributes: names }) =>
    `bind ${typeof source === 'string' ? source : 'fd' in source ? source.fd : source.handle} to ${target}${attributes(names)}`,
  file: ({ target, content, optional }) =>
    `place a file of ${Buffer.byteLength(content)} bytes at ${target}${optional ? ', if it can be made there' : ''}`,
  mask: ({ paths }) => `mask ${list(paths, 20)}`,
  readonlyPaths: ({ paths }) => `make ${list(paths, 20)} read-only`,
  readonlyRoot: () => 'make the root read-only',
  pivotRoot: () => 'make the root "/" and let go of the old one',
  stageRoot: () => 'put the root where CRIU finds it, beside a place for what it makes itself',
  attachLayer: ({ source, name, idsMapped }) =>
    `attach ${source}${idsMapped ? ', its ids mapped,' : ''} in the scratch as ${name}`,
  openRoot: () => 'resolve targets in the root of the namespace that was entered',
  handOver: ({ handle }) => `hand over a descriptor of ${handle}`,
  detachTree: ({ source }) => `take a copy of the mount of ${typeof source === 'string' ? source : source.fd}`,
  detachFile: ({ content }) => `make a mount of one file of ${Buffer.byteLength(content)} bytes`,
  unmount: ({ mount }) => `unmount ${mount}`,
  boundingSet: ({ keep }) => `drop capabilities outside ${keep.toString(16)} from the bounding set`,
  credentials: ({ uid, gid, groups }) =>
    `become user ${uid}, group ${gid}${groups ? `, groups [${groups.join(', ')}]` : ''}`,
  capabilities: ({ effective }) =>
    `keep the capabilities ${effective.toString(16)}, inheritable and ambient sets empty`,
  noNewPrivileges: () => 'set no_new_privs: execve grants nothing from here on',
  seccomp: ({ filter, listener }) =>
    `load a seccomp filter of ${filter.length / 8} instructions${listener ? ' and hand over its listener' : ''}, as late as possible`,
  landlock: ({ ruleset }) => `enforce the Landlock ruleset ${ruleset}`,
  execLabel: ({ label }) => `take the label by '${label}'`,
  closeFds: () => "close every descriptor that is not the program's",
  unblockSignals: () => 'unblock all signals',
  exec: ({ argv, candidates }) =>
    `execute ${argv[0]}${candidates.length > 1 ? `, looked for in ${candidates.length} places` : ''}`,
  clone: ({ supervisor, namespaces }) =>
    `start a process${namespaces.length > 0 ? ` in new namespaces (${list(namespaces, 8)})` : ''} and watch it as its ${supervisor}`,
  park: () => 'wait until the caller says start',
  receiveSteps: () => 'wait until the caller sends what to do next',
  goOnInside: () =>
    'go on as a process inside, as which it can be seen there, without privileges and descriptors of the host',
  goOnIn: ({ namespaces }) =>
    `go on as a process ${namespaces.length > 0 ? `in new namespaces (${list(namespaces, 8)})` : 'of its own'}, after what was entered`,
  handOverNamespaces: ({ namespaces, joined = [] }) =>
    `hand over descriptors of the namespaces ${list([...namespaces, ...joined.map(({ kind }) => kind)], 8)}`,
  report: ({ kind }) => `report: ${kind}`,
};

/** A step in words. */
export function describeStep(step: Step): string {
  return (descriptions[step.op] as (step: Step) => string)(step);
}
