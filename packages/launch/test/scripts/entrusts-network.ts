// In a network namespace of its own: entrusts requests that only in their order take a link away, says so, and waits. With the
// name of a file, which goes with them, it first enters another network namespace, where links have the same names:
// node entrusts-network.js [FILE]
import { execFileSync } from 'node:child_process';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import { entrust } from '../../src/index.ts';

const NETLINK_ROUTE = 0;
const [RTM_NEWLINK, RTM_DELLINK] = [16, 17];
const NLM_F_REQUEST = 1;
const NLM_F_CREATE = 0x400;
const IFLA_IFNAME = 3;
const [IFLA_LINKINFO, IFLA_INFO_KIND] = [18, 1];

/** struct nlmsghdr, struct ifinfomsg, a name. */
function linkMessage(type: number, index: number, name: string): Buffer {
  const message = Buffer.alloc(16 + 16 + 4 + 16);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(NLM_F_REQUEST, 6);
  message.writeInt32LE(index, 20);
  message.writeUInt16LE(4 + 16, 32);
  message.writeUInt16LE(IFLA_IFNAME, 34);
  message.write(name, 36);
  return message;
}

/** Makes one bridge more each time it is sent: struct nlmsghdr, struct ifinfomsg, IFLA_LINKINFO with IFLA_INFO_KIND. */
function anotherBridge(): Buffer {
  const message = Buffer.alloc(16 + 16 + 4 + 4 + 8);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(RTM_NEWLINK, 4);
  message.writeUInt16LE(NLM_F_REQUEST | NLM_F_CREATE, 6);
  for (const [i, value] of [4 + 4 + 8, IFLA_LINKINFO, 4 + 7, IFLA_INFO_KIND].entries())
    message.writeUInt16LE(value, 32 + 2 * i);
  message.write('bridge', 40);
  return message;
}

check('unshare', syscall(SYS.unshare, CLONE.NEWNET));
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
for (const name of ['gone', 'kept', 'free']) ip('link', 'add', name, 'type', 'bridge');
const [{ ifindex }] = JSON.parse(ip('-j', 'link', 'show', 'gone'));
// More than one message has room for, and nothing that the kernel would do.
const nonsense = Array.from({ length: 10 }, () => Buffer.alloc(3000, 0xff));
const messages = [linkMessage(RTM_NEWLINK, ifindex, 'renamed'), ...nonsense, linkMessage(RTM_DELLINK, 0, 'renamed')];
const entrustAll = (all: readonly Buffer[], files: readonly string[] = []) =>
  entrust({ requests: all.map((message) => ({ protocol: NETLINK_ROUTE, message })), files });
// So that free places are not one behind the other.
const places = Array.from({ length: 20 }, () => entrust({ files: ['/nowhere'] }));
for (const i of [1, 4, 5, 9, 16]) places[i]![Symbol.dispose]();
entrustAll([linkMessage(RTM_DELLINK, 0, 'free')])[Symbol.dispose]();
entrustAll(messages);
const last = () => entrust({ lastRequests: [{ protocol: NETLINK_ROUTE, message: anotherBridge() }] });
last();
for (const _ of [1, 2]) last()[Symbol.dispose]();
last();
const file = process.argv[2];
if (file !== undefined) {
  entrustAll([linkMessage(RTM_DELLINK, 0, 'free')], [file]);
  check('unshare', syscall(SYS.unshare, CLONE.NEWNET));
  for (const name of ['here', 'free']) ip('link', 'add', name, 'type', 'bridge');
  entrustAll([linkMessage(RTM_DELLINK, 0, 'here')]);
}
process.stdout.write('made\n');
setInterval(() => {}, 1000);
