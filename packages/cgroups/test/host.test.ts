import { onlyV1, parseCgroupHost } from '@ns/cgroups';

const mount = (root: string, point: string, type: string, options: string): string =>
  `31 23 0:28 ${root} ${point} rw,relatime shared:9 - ${type} ${type} rw,${options}\n`;

test('a host with cgroup v2 only', () => {
  const host = parseCgroupHost({
    mountinfo: mount('/', '/sys/fs/cgroup', 'cgroup2', 'nsdelegate'),
    selfCgroup: '0::/user.slice/app.scope\n',
    controllersAt: () => 'cpuset cpu io memory pids\n',
  });
  expect(host.mode).toBe('v2');
  expect([...host.controllers.keys()]).toEqual(['cpuset', 'cpu', 'io', 'memory', 'pids']);
  expect(host.unified?.ownPath).toBe('/user.slice/app.scope');
});

test('a host with v1 trees, some of them shared by controllers', () => {
  const host = parseCgroupHost({
    mountinfo:
      mount('/', '/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'cpu,cpuacct') +
      mount('/', '/sys/fs/cgroup/blkio', 'cgroup', 'blkio') +
      mount('/', '/sys/fs/cgroup/systemd', 'cgroup', 'xattr,name=systemd') +
      mount('/', '/mnt/again', 'cgroup', 'blkio'),
    selfCgroup: '3:cpu,cpuacct:/a\n2:blkio:/b\n1:name=systemd:/c\n',
    controllersAt: () => '',
  });
  expect(host.mode).toBe('v1');
  expect(host.unified).toBeUndefined();
  expect(host.controllers.get('cpu')).toBe(host.controllers.get('cpuacct'));
  expect(host.controllers.get('cpu')).toMatchObject({ ownPath: '/a', mountPoint: '/sys/fs/cgroup/cpu,cpuacct' });
  expect(host.controllers.get('io')).toMatchObject({
    ownPath: '/b',
    mountPoint: '/sys/fs/cgroup/blkio',
    kernelNames: ['blkio'],
  });
  expect(host.hierarchies).toHaveLength(2);
});

test('a hybrid host, seen whole and without its v2 tree', () => {
  const host = {
    ...parseCgroupHost({
      mountinfo:
        mount('/', '/sys/fs/cgroup/memory', 'cgroup', 'memory') + mount('/', '/sys/fs/cgroup/unified', 'cgroup2', ''),
      selfCgroup: '4:memory:/m\n0::/u\n',
      controllersAt: () => 'hugetlb',
    }),
    namespaced: false,
    systemd: false,
  };
  expect(host.mode).toBe('hybrid');
  expect(host.controllers.get('memory')?.version).toBe(1);
  expect(host.controllers.get('hugetlb')).toBe(host.unified);
  const v1 = onlyV1(host);
  expect(v1).toMatchObject({ mode: 'v1', unified: undefined });
  expect([...v1.controllers.keys()]).toEqual(['memory']);
});

test('in a container without a cgroup namespace the mount shows a part, and the own path is relative to it', () => {
  const own = (selfCgroup: string): string | undefined =>
    parseCgroupHost({
      mountinfo: mount('/docker/0a\\04042', '/sys/fs/cgroup', 'cgroup2', ''),
      selfCgroup,
      controllersAt: () => 'memory',
    }).unified?.ownPath;
  expect(own('0::/docker/0a 42\n')).toBe('/');
  expect(own('0::/docker/0a 42/service\n')).toBe('/service');
  expect(own('0::/elsewhere\n')).toBe('/');
});

test('no cgroup file system at all', () => {
  const texts = { mountinfo: '22 1 0:5 / /proc rw - proc proc rw\n', selfCgroup: '', controllersAt: () => '' };
  expect(() => parseCgroupHost(texts)).toThrow(expect.objectContaining({ code: 'ERR_NS_UNAVAILABLE' }));
});
