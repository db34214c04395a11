import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import {
  generationPayload,
  insideNewNetworkNamespace,
  linkPayload,
  NETLINK,
  NetlinkError,
  NetlinkSocket,
  NLM_F,
  nftablesBatch,
  nftablesType,
  openOwnNetworkNamespace,
  RTM,
  RTNLGRP,
  tablePayload,
} from '@ns/netlink';
import { needs, notRoot } from '@ns/testing';

const rootTest = needs(notRoot);
const ownNamespace = (): string => readlinkSync('/proc/thread-self/ns/net');

function freshNamespace(groups: readonly number[] = []) {
  return insideNewNetworkNamespace(() => ({ fd: openOwnNetworkNamespace(), socket: NetlinkSocket.open({ groups }) }));
}

function createBridge(name: string) {
  return {
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    payload: linkPayload().encode({ attributes: { name, info: { kind: 'bridge' } } }),
    doing: `create bridge '${name}'`,
  };
}

rootTest('a socket of another namespace shows that namespace, and the thread is back', () => {
  const before = ownNamespace();
  const { fd, socket } = freshNamespace();
  const names = socket
    .dump({ type: RTM.GETLINK, payload: linkPayload().encode({}) })
    .map((message) => linkPayload().decode(message.payload).attributes.name);
  expect(names).toContain('lo');
  expect(names).not.toContain('eth0');
  expect(ownNamespace()).toBe(before);
  using second = NetlinkSocket.open({ namespaceFd: fd.fd });
  socket.request(createBridge('br0'));
  expect(second.dump({ type: RTM.GETLINK, payload: linkPayload().encode({}) })).toHaveLength(names.length + 1);
  socket.close();
  fd.close();
});

rootTest('refusals carry the words of the kernel, the attribute and a hint', () => {
  const { fd, socket } = freshNamespace();
  socket.request(createBridge('br0'));
  const refuse = (name: string, attributes: object, flags = NLM_F.CREATE | NLM_F.EXCL): NetlinkError => {
    try {
      socket.request({
        type: RTM.NEWLINK,
        flags,
        payload: linkPayload().encode({ attributes: { name, ...attributes } }),
        doing: `create '${name}'`,
      });
    } catch (error) {
      return error as NetlinkError;
    }
    throw new Error('was not refused');
  };
  const exists = refuse('br0', { info: { kind: 'bridge' } });
  expect(exists).toBeInstanceOf(NetlinkError);
  expect(exists).toMatchObject({ code: 'EEXIST', syscall: 'RTM_NEWLINK', errno: -17 });
  expect(exists.hint).toMatch(/choose another name/);
  const unknown = refuse('x0', { info: { kind: 'no-such-kind' } });
  expect(unknown).toMatchObject({ code: 'EOPNOTSUPP', kernelMessage: 'Unknown device type' });
  const mtu = refuse('br0', { mtu: 0x7fffffff }, 0);
  expect(mtu).toMatchObject({ code: 'EINVAL', kernelMessage: 'mtu greater than device maximum' });
  const name = refuse('a-name-that-is-longer-than-fifteen', { info: { kind: 'bridge' } });
  expect(name).toMatchObject({ attribute: 'name' });
  socket.close();
  fd.close();
});

rootTest('a batch reports each outcome, in order', () => {
  const { fd, socket } = freshNamespace();
  const names = Array.from({ length: 150 }, (_, index) => (index % 10 === 9 ? 'br0' : `br${index}`));
  const outcomes = socket.batch(names.map(createBridge));
  expect(outcomes.map((outcome) => outcome?.code)).toEqual(
    names.map((name, index) => (name === 'br0' && index !== 0 ? 'EEXIST' : undefined)),
  );
  expect(outcomes[9]?.message).toMatch(/create bridge 'br0'/);
  socket.close();
  fd.close();
});

rootTest('dumps larger than one datagram are complete, in both forms', async () => {
  const { fd, socket } = freshNamespace();
  socket.batch(Array.from({ length: 200 }, (_, index) => createBridge(`br${index}`)));
  const request = { type: RTM.GETLINK, payload: linkPayload().encode({ attributes: { info: { kind: 'bridge' } } }) };
  expect(socket.dump(request)).toHaveLength(200);
  expect(await socket.dumpInTurns(request)).toHaveLength(200);
  socket.close();
  fd.close();
});

rootTest('events come as they happen and end with the socket', async () => {
  const { fd, socket } = freshNamespace([RTNLGRP.LINK]);
  using other = NetlinkSocket.open({ namespaceFd: fd.fd });
  const seen: string[] = [];
  setTimeout(
    () =>
      other.batch([
        createBridge('br7'),
        { type: RTM.DELLINK, payload: linkPayload().encode({ attributes: { name: 'br7' } }) },
      ]),
    20,
  );
  for await (const message of socket.events()) {
    seen.push(`${message.type} ${linkPayload().decode(message.payload).attributes.name}`);
    if (message.type === RTM.DELLINK) break;
  }
  expect(seen[0]).toBe(`${RTM.NEWLINK} br7`);
  expect(seen.at(-1)).toBe(`${RTM.DELLINK} br7`);
  setTimeout(() => socket.close(), 20);
  for await (const _ of socket.events()) throw new Error('no event was made');
  fd.close();
});

rootTest('an abort ends the events', async () => {
  const { fd, socket } = freshNamespace([RTNLGRP.LINK]);
  const events = socket.events({ signal: AbortSignal.timeout(20) });
  expect(await events.next()).toEqual({ done: true, value: undefined });
  socket.close();
  fd.close();
});

rootTest('an asynchronous function may not run inside another namespace', () => {
  const before = ownNamespace();
  expect(() => insideNewNetworkNamespace(async () => undefined)).toThrow(
    expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }),
  );
  expect(ownNamespace()).toBe(before);
});

rootTest('what we decode is what ip shows', () => {
  const shown = JSON.parse(execFileSync('ip', ['-j', '-d', 'link', 'show']).toString()) as {
    ifname: string;
    ifindex: number;
    mtu: number;
  }[];
  using socket = NetlinkSocket.open();
  const ours = socket
    .dump({ type: RTM.GETLINK, payload: linkPayload().encode({}) })
    .map((message) => linkPayload().decode(message.payload));
  expect(ours.map((link) => ({ ifindex: link.index, ifname: link.attributes.name, mtu: link.attributes.mtu }))).toEqual(
    shown.map(({ ifindex, ifname, mtu }) => ({ ifindex, ifname, mtu })),
  );
});

rootTest('a transaction for rules that have changed since is refused whole', () => {
  const { fd } = freshNamespace();
  using socket = NetlinkSocket.open({ namespaceFd: fd.fd, protocol: NETLINK.NETFILTER });
  const table = (message: 'NEWTABLE' | 'GETTABLE', name: string) => ({
    type: nftablesType(message),
    flags: message === 'NEWTABLE' ? NLM_F.CREATE : 0,
    payload: tablePayload.encode({ family: 1, attributes: { name } }),
  });
  const generation = (): number => {
    const [answer] = socket.request({ type: nftablesType('GETGEN'), payload: generationPayload.encode({}) });
    return generationPayload.decode(answer!.payload).attributes.id!;
  };
  const before = generation();
  socket.transaction(nftablesBatch([table('NEWTABLE', 'a')], { generation: before }));
  expect(generation()).not.toBe(before);
  const stale = nftablesBatch([table('NEWTABLE', 'b'), table('NEWTABLE', 'c')], { generation: before });
  expect(() => socket.transaction(stale)).toThrow(expect.objectContaining({ code: 'ERESTART' }));
  expect(socket.request(table('GETTABLE', 'a'))).toHaveLength(1);
  expect(() => socket.request(table('GETTABLE', 'b'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  fd.close();
});
