import { execFileSync } from 'node:child_process';
import { UnavailableError } from '@ns/libc';
import { address, type Link, link, linkEvents, NetNamespace, neighbour, route, rule, sysctl } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';

const rootTest = needs(notRoot);

function inside(netns: NetNamespace, command: string, ...args: string[]): string {
  return execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, command, ...args]).toString();
}
// biome-ignore lint/suspicious/noExplicitAny: what ip prints has no type
const ip = (netns: NetNamespace, ...args: string[]): any[] =>
  JSON.parse(inside(netns, 'ip', '-j', '-d', '-s', ...args));
const sorted = (names: readonly string[]): string[] => [...names].sort();

async function expectAsShown(netns: NetNamespace): Promise<void> {
  const shown = ip(netns, 'link', 'show');
  const ours = await link.list({ netns });
  expect(ours.map(({ name }) => name)).toEqual(shown.map(({ ifname }) => ifname));
  for (const [index, theirs] of shown.entries()) {
    const mine = ours[index]!;
    expect({
      ifindex: mine.index,
      mtu: mine.mtu,
      operstate: mine.state,
      master: mine.master,
      kind: mine.kind,
      qdisc: mine.qdisc,
      txqlen: mine.txQueueLength ?? 1000,
      addressGeneration: mine.addressGeneration,
      flags: sorted(mine.flags.filter((flag) => flag !== 'RUNNING')),
    }).toEqual({
      ifindex: theirs.ifindex,
      mtu: theirs.mtu,
      operstate: theirs.operstate,
      master: theirs.master,
      kind: theirs.linkinfo?.info_kind,
      qdisc: theirs.qdisc,
      txqlen: theirs.txqlen ?? 1000,
      addressGeneration: theirs.inet6_addr_gen_mode,
      // ip leaves RUNNING out and adds words of its own.
      flags: sorted(theirs.flags.filter((flag: string) => !['NO-CARRIER', 'M-DOWN'].includes(flag))),
    });
    // Read later, so never less.
    expect(Number(mine.statistics?.rxPackets)).toBeGreaterThanOrEqual(theirs.stats64.rx.packets);
    expect(Number(mine.statistics?.txBytes)).toBeGreaterThanOrEqual(theirs.stats64.tx.bytes);
    if (mine.mac !== undefined) expect(mine.mac).toBe(theirs.address);
  }
}

rootTest('links of every kind are what ip shows', async () => {
  await using netns = await NetNamespace.create();
  await link.createBridge({ name: 'br0', netns, stp: true, ageingTimeSec: 60, multicastSnooping: false });
  await link.createVeth({
    name: 'va',
    netns,
    mac: '02:00:00:00:00:01',
    mtu: 1400,
    up: true,
    peer: { name: 'vb', mac: '02:00:00:00:00:02', up: true },
  });
  await link.setMaster('va', 'br0', { netns });
  for (const [name, generation] of [
    ['va', 'none'],
    ['vb', 'random'],
  ] as const)
    await link.setAddressGeneration(name, generation, { netns });
  await link.setBridgePort('va', { netns, hairpin: true, isolated: true, learning: false });
  await link.createMacvlan({ name: 'mv', parent: 'vb', netns, mode: 'private' });
  await link.createVxlan({ name: 'vx', netns, id: 42, local: '127.0.0.1', learning: false, master: 'br0' });
  await link.createTuntap({ name: 'tap0', mode: 'tap', netns, ownerUid: 54321 });
  await expectAsShown(netns);
  const byName = Object.fromEntries(ip(netns, 'link', 'show').map((shown) => [shown.ifname, shown.linkinfo]));
  expect(byName.br0.info_data).toMatchObject({ stp_state: 1, ageing_time: 6000, mcast_snooping: 0 });
  expect(byName.va.info_slave_data).toMatchObject({ hairpin: true, isolated: true, learning: false });
  expect(byName.mv.info_data).toMatchObject({ mode: 'private' });
  expect(byName.vx.info_data).toMatchObject({ id: 42, local: '127.0.0.1', port: 4789, learning: false });
  expect(byName.tap0).toMatchObject({ info_kind: 'tun', info_data: { type: 'tap', persist: true, user: 54321 } });
  expect((await link.get('va', { netns }))?.port).toMatchObject({ hairpin: true, isolated: true, learning: false });
  expect((await link.get('br0', { netns }))?.data).toMatchObject({ stpState: 1, ageingTime: 6000 });
  expect(await link.list({ netns, kind: 'vxlan' })).toHaveLength(1);
  expect((await link.get('va', { netns }))?.addressGeneration).toBe('none');
  await expect(link.setAddressGeneration('va', 'eui48' as 'eui64', { netns })).rejects.toThrow('generation');
});

rootTest('rename, move, address, MTU, alias, queue length, master, down, remove', async () => {
  await using a = await NetNamespace.create();
  await using b = await NetNamespace.create();
  await link.createBridge({ name: 'br0', netns: a });
  await link.createVeth({ name: 'va', netns: a, peer: { name: 'vb' } });
  await link.setMaster('va', 'br0', { netns: a });
  expect((await link.get('va', { netns: a }))?.master).toBe('br0');
  await link.setMaster('va', null, { netns: a });
  expect((await link.get('va', { netns: a }))?.master).toBeUndefined();
  await link.rename('vb', 'renamed', { netns: a });
  await link.moveToNetns('renamed', b, { netns: a, name: 'eth0' });
  await link.setMac('eth0', '02:aa:bb:cc:dd:ee', { netns: b });
  await link.setMtu('eth0', 1300, { netns: b });
  await link.setAlias('eth0', 'towards the host', { netns: b });
  await link.setTxQueueLength('eth0', 77, { netns: b });
  await link.addAlternativeName('eth0', 'a-name-that-is-longer-than-fifteen', { netns: b });
  await link.setUp('eth0', { netns: b });
  const moved = (await link.get('eth0', { netns: b })) as Link;
  expect(moved).toMatchObject({
    mac: '02:aa:bb:cc:dd:ee',
    mtu: 1300,
    alias: 'towards the host',
    txQueueLength: 77,
    up: true,
    alternativeNames: ['a-name-that-is-longer-than-fifteen'],
  });
  await expectAsShown(a);
  await expectAsShown(b);
  await link.setDown('eth0', { netns: b });
  await link.remove('eth0', { netns: b });
  await link.remove('eth0', { netns: b, ifMissing: 'ignore' });
  await expect(link.remove('eth0', { netns: b })).rejects.toMatchObject({ code: 'ENODEV' });
  expect(await link.get('va', { netns: a })).toBeUndefined();
});

rootTest('addresses of both versions are what ip shows', async () => {
  await using netns = await NetNamespace.create();
  await link.createVeth({ name: 'va', netns, up: true, peer: { name: 'vb', up: true } });
  await address.add('va', '10.1.0.1/24', { netns });
  await address.add('va', '10.1.0.2/24', { netns, label: 'va:1' });
  await address.add('va', '10.2.0.1/31', { netns });
  await address.add('va', 'fd00::1/64', { netns, nodad: true });
  await address.add('va', 'fd00:1::1/127', { netns, nodad: true });
  const shown = ip(netns, 'address', 'show').flatMap(({ ifname, addr_info }) =>
    addr_info.map((info: object) => ({ ifname, ...info })),
  );
  const ours = await address.list({ netns });
  const key = (text: string) => text;
  expect(
    sorted(
      ours.map((a) =>
        key(`${a.link} ${a.family} ${a.address}/${a.prefixLength} ${a.scope} ${a.broadcast ?? '-'} ${a.label ?? '-'}`),
      ),
    ),
  ).toEqual(
    sorted(
      shown.map((a) =>
        key(`${a.ifname} ${a.family} ${a.local}/${a.prefixlen} ${a.scope} ${a.broadcast ?? '-'} ${a.label ?? '-'}`),
      ),
    ),
  );
  expect(ours.find((a) => a.address === '10.1.0.2')?.flags).toEqual(['SECONDARY', 'PERMANENT']);
  await expect(address.add('va', '10.1.0.1/24', { netns })).rejects.toMatchObject({ code: 'EEXIST' });
  await address.remove('va', '10.2.0.1/31', { netns });
  await expect(address.remove('va', '10.2.0.1/31', { netns })).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  await expect(address.add('va', '10.1.0.300/24', { netns })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  await address.flush('va', { netns, family: 'inet' });
  expect(await address.list({ netns, link: 'va', family: 'inet' })).toEqual([]);
});

rootTest('routes of both versions are what ip shows', async () => {
  await using netns = await NetNamespace.create();
  await link.createVeth({ name: 'va', netns, up: true, peer: { name: 'vb', up: true } });
  await address.add('va', '10.1.0.1/24', { netns });
  await address.add('va', 'fd00::1/64', { netns, nodad: true });
  await route.add({ to: 'default', via: '10.1.0.254', netns });
  await route.add({ to: 'default', via: 'fd00::fe', netns });
  await route.add({ to: '10.9.0.0/16', link: 'va', source: '10.1.0.1', metric: 7, mtu: 1300, netns });
  await route.add({ to: '10.8.0.0/16', kind: 'blackhole', table: 300, netns });
  await route.add({ to: '10.7.0.0/16', nextHops: [{ via: '10.1.0.7' }, { via: '10.1.0.8', weight: 3 }], netns });
  const line = (r: { to: string; via?: unknown; link?: unknown; metric?: unknown; protocol: string; scope?: string }) =>
    `${r.to} ${r.via ?? '-'} ${r.link ?? '-'} ${r.metric ?? 0} ${r.protocol}`;
  for (const [family, flag] of [
    ['inet', '-4'],
    ['inet6', '-6'],
  ] as const) {
    const shown = JSON.parse(inside(netns, 'ip', '-j', flag, 'route', 'show')) as {
      dst: string;
      gateway: string;
      dev: string;
      metric: number;
      protocol?: string;
    }[];
    const ours = await route.list({ netns, family });
    expect(sorted(ours.map(line))).toEqual(
      sorted(
        shown.map((r) =>
          line({ to: r.dst, via: r.gateway, link: r.dev, metric: r.metric, protocol: r.protocol ?? 'boot' }),
        ),
      ),
    );
  }
  expect(await route.list({ netns, table: 300 })).toMatchObject([
    { to: '10.8.0.0/16', kind: 'blackhole', table: '300' },
  ]);
  expect((await route.list({ netns })).find((r) => r.to === '10.7.0.0/16')?.nextHops).toEqual([
    { via: '10.1.0.7', link: 'va', weight: 1 },
    { via: '10.1.0.8', link: 'va', weight: 3 },
  ]);
  expect(await route.lookUp('10.9.1.1', { netns })).toMatchObject({ link: 'va', source: '10.1.0.1' });
  await route.replace({ to: '10.9.0.0/16', link: 'va', metric: 7, netns });
  await route.remove({ to: '10.9.0.0/16', netns });
  await expect(route.remove({ to: '10.9.0.0/16', netns })).rejects.toMatchObject({ code: 'ESRCH' });
  await expect(route.add({ to: '10.6.0.0/16', via: '192.168.77.1', netns })).rejects.toMatchObject({
    code: 'ENETUNREACH',
    hint: expect.stringMatching(/gateway/),
  });
});

rootTest('rules, neighbours, forwarding entries', async () => {
  await using netns = await NetNamespace.create();
  await rule.add({ from: '10.1.0.0/24', mark: 7, table: 300, priority: 1000, netns });
  await rule.add({ family: 'inet6', to: 'fd00::/8', action: 'prohibit', priority: 5, netns });
  expect((await rule.list({ netns, family: 'inet' })).find((r) => r.priority === 1000)).toMatchObject({
    from: '10.1.0.0/24',
    to: 'all',
    table: '300',
    mark: 7,
    action: 'lookup',
  });
  expect(ip(netns, 'rule', 'show').find((r) => r.priority === 1000)).toMatchObject({
    src: '10.1.0.0',
    srclen: 24,
    table: '300',
    fwmark: '0x7',
  });
  expect((await rule.list({ netns, family: 'inet6' })).find((r) => r.priority === 5)).toMatchObject({
    to: 'fd00::/8',
    action: 'prohibit',
  });
  await rule.remove({ priority: 1000, netns });
  expect((await rule.list({ netns, family: 'inet' })).map((r) => r.priority)).toEqual([0, 32766, 32767]);

  await link.createVeth({ name: 'va', netns, up: true, peer: { name: 'vb', up: true } });
  await neighbour.add({ address: '10.1.0.9', link: 'va', mac: '02:00:00:00:00:77', netns });
  await neighbour.add({ address: 'fd00::9', link: 'va', mac: '02:00:00:00:00:78', netns });
  expect(
    ip(netns, 'neighbour', 'show', 'nud', 'permanent')
      .map((n) => `${n.dst} ${n.lladdr}`)
      .sort(),
  ).toEqual(['10.1.0.9 02:00:00:00:00:77', 'fd00::9 02:00:00:00:00:78']);
  expect((await neighbour.list({ netns, family: 'inet' }))[0]).toMatchObject({
    address: '10.1.0.9',
    mac: '02:00:00:00:00:77',
    link: 'va',
    state: ['PERMANENT'],
  });
  await neighbour.remove({ address: '10.1.0.9', link: 'va', netns });
  expect(await neighbour.list({ netns, family: 'inet', link: 'va' })).toEqual([]);

  await link.createVxlan({ name: 'vx', netns, id: 1 });
  await neighbour.appendFdb({ mac: '00:00:00:00:00:00', link: 'vx', destination: '10.9.0.2', netns });
  await neighbour.appendFdb({ mac: '00:00:00:00:00:00', link: 'vx', destination: '10.9.0.3', netns });
  expect((await neighbour.listFdb({ netns, link: 'vx' })).map((entry) => entry.destination).sort()).toEqual([
    '10.9.0.2',
    '10.9.0.3',
  ]);
  await neighbour.removeFdb({ mac: '00:00:00:00:00:00', link: 'vx', destination: '10.9.0.2', netns });
  expect(JSON.parse(inside(netns, 'bridge', '-j', 'fdb', 'show', 'dev', 'vx'))).toMatchObject([{ dst: '10.9.0.3' }]);
});

rootTest('sysctls belong to the namespace', async () => {
  await using netns = await NetNamespace.create();
  const before = await sysctl.get('net.ipv4.ip_forward');
  await sysctl.set('net.ipv4.ip_forward', 1, { netns });
  expect(await sysctl.get('net.ipv4.ip_forward', { netns })).toBe('1');
  expect(await sysctl.get('net.ipv4.ip_forward')).toBe(before);
  await expect(sysctl.set('kernel.hostname', 'x', { netns })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  await expect(sysctl.get('net.../../etc/passwd')).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

rootTest('link events', async () => {
  await using netns = await NetNamespace.create();
  const seen: string[] = [];
  setTimeout(() => void link.createBridge({ name: 'br0', netns }).then(() => link.remove('br0', { netns })), 20);
  for await (const event of linkEvents({ netns, signal: AbortSignal.timeout(15_000) })) {
    seen.push(`${event.kind} ${event.link.name}`);
    if (event.kind === 'removed') break;
  }
  expect(seen[0]).toBe('changed br0');
  expect(seen.at(-1)).toBe('removed br0');
});

rootTest('bad names are refused before the kernel sees them', async () => {
  for (const name of ['', '.', '..', 'a/b', 'a b', 'a:b', 'sixteen-letters!', 'nul\0']) {
    await expect(link.createBridge({ name })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  }
  await expect(link.setUp(-1)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

rootTest('a kind the kernel lacks is an UnavailableError', async () => {
  await using netns = await NetNamespace.create();
  const attempts = [
    () => link.createDummy({ name: 'd0', netns }),
    () => link.createVlan({ name: 'v0', parent: 'lo', id: 5, netns }),
    () => link.createIpvlan({ name: 'i0', parent: 'lo', netns }),
  ];
  for (const attempt of attempts) {
    // Where the kernel has the kind, it is made, or refused for another reason (lo is no parent).
    const error = await attempt().then(
      () => undefined,
      (reason: Error & { code: string }) => reason,
    );
    if (error?.code === 'ERR_NS_UNAVAILABLE') expect(error).toBeInstanceOf(UnavailableError);
  }
});
