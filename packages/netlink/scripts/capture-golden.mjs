// Captures the netlink messages that iproute2 sends, as golden vectors: test/golden/iproute2.json.
// Run as root: `unshare --net node scripts/capture-golden.mjs`. Needs strace and iproute2. Nothing leaves the namespace.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { run, tracedMessages } from './traced-messages.mjs';

// name -> command. The order matters: later ones need what earlier ones made.
const commands = {
  'link up': 'ip link set dev lo up',
  'link list': 'ip link show',
  'veth create': 'ip link add name va type veth peer name vb',
  'veth create with addresses':
    'ip link add name vc address 02:00:00:00:00:01 mtu 1400 type veth peer name vd address 02:00:00:00:00:02 mtu 1400',
  'veth create with one queue':
    'ip link add name ve numtxqueues 1 numrxqueues 1 type veth peer name vf numtxqueues 1 numrxqueues 1',
  'bridge create': 'ip link add name br0 type bridge',
  'bridge create with options': 'ip link add name br1 type bridge stp_state 1 ageing_time 10000 mcast_snooping 0',
  'macvlan create': 'ip link add link mp name mv type macvlan mode bridge',
  'vxlan create': 'ip link add name vx type vxlan id 42 local 10.9.0.1 dstport 4789 nolearning',
  'link master': 'ip link set dev va master br0',
  'link no master': 'ip link set dev va nomaster',
  'link rename': 'ip link set dev vb name vz',
  'link mtu': 'ip link set dev vz mtu 1300',
  'link mac': 'ip link set dev vz address 02:00:00:00:00:09',
  'link address generation': 'ip link set dev vz addrgenmode none',
  'port options': 'ip link set dev vc type bridge_slave hairpin on isolated on',
  'link netns by pid': `ip link set dev vd netns ${process.pid}`,
  'address add': 'ip address add 10.1.0.1/24 dev vz',
  'address add v6': 'ip address add fd00::1/64 dev vz nodad',
  'address list': 'ip address show dev vz',
  'link vz up': 'ip link set dev vz up',
  'link va up': 'ip link set dev va up',
  'route add default': 'ip route add default via 10.1.0.254',
  'route add v6': 'ip -6 route add fd01::/64 via fd00::2 dev vz metric 5',
  'route add blackhole': 'ip route add blackhole 10.77.0.0/16 table 300',
  'route list': 'ip route show table all',
  'rule add': 'ip rule add from 10.1.0.0/24 fwmark 7 table 300 priority 1000',
  'rule del': 'ip rule del priority 1000',
  'neighbour add': 'ip neighbour add 10.1.0.9 lladdr 02:00:00:00:00:77 nud permanent dev vz',
  'neighbour del': 'ip neighbour del 10.1.0.9 dev vz',
  'fdb append': 'bridge fdb append 00:00:00:00:00:00 dev vx dst 10.9.0.2',
  'fdb replace sticky': 'bridge fdb replace 02:00:00:00:00:88 dev vc master static sticky',
  'qdisc tbf': 'tc qdisc add dev vz root tbf rate 8mbit burst 16kb latency 50ms',
  'neighbour list': 'ip neighbour show',
  'fdb list': 'bridge fdb show',
  'rule list': 'ip rule show',
  'qdisc list': 'tc qdisc show',
  'route get': 'ip route get 10.1.0.5',
  'alternative name add': 'ip link property add dev va altname a-longer-name-than-fifteen',
  'alternative name del': 'ip link property del dev va altname a-longer-name-than-fifteen',
  'namespace ids': 'ip netns list-id',
  // Not in every kernel: what is asked for is captured all the same.
  'dummy create': 'ip link add name du type dummy',
  'vlan create': 'ip link add link vz name vz.5 type vlan id 5',
  'ipvlan create': 'ip link add link vz name iv type ipvlan mode l2',
  'qdisc del': 'tc qdisc del dev vz root',
  'route del': 'ip route del default via 10.1.0.254',
  'address del': 'ip address del 10.1.0.1/24 dev vz',
  'link remove': 'ip link del dev va',
};

// Preparations that are part of no vector.
const before = {
  'macvlan create': 'ip link add name mp type veth peer name mq',
  'port options': 'ip link set dev vc master br0',
};

const vectors = {};
const mayFail = new Set(['dummy create', 'vlan create', 'ipvlan create']);
for (const [name, command] of Object.entries(commands)) {
  if (before[name]) run(before[name]);
  vectors[name] = {
    command: command.replace(String(process.pid), '$PID'),
    messages: tracedMessages(command, 'sent', { mayFail: mayFail.has(name) }),
  };
}
const indexes = JSON.parse(execFileSync('ip', ['-j', 'link', 'show']).toString());
const names = Object.fromEntries(indexes.map((link) => [link.ifname, link.ifindex]));
const version = execFileSync('ip', ['-V']).toString().trim();
writeFileSync(
  new URL('../test/golden/iproute2.json', import.meta.url),
  `${JSON.stringify({ version, pid: process.pid, names, vectors }, null, 1)}\n`,
);
