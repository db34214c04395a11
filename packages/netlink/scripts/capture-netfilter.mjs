// Captures the netlink messages of nft and conntrack, as golden vectors: test/golden/netfilter.json.
// Run as root: `unshare --net node scripts/capture-netfilter.mjs`. Needs strace, nftables and conntrack. Nothing leaves the namespace.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { run, tracedMessages } from './traced-messages.mjs';

const element = "'{ tcp . 8080 : 10.90.0.2 . 80 }'";
run('nft add table inet ns');
run("nft add map inet ns publish4 '{ type inet_proto . inet_service : ipv4_addr . inet_service; }'");
run('nft add chain inet ns forward');
run('nft add rule inet ns forward counter');
for (const [source, destination] of [
  ['10.77.0.2', '10.77.0.3'],
  ['fd77::2', 'fd77::3'],
])
  run(
    `conntrack -I -p tcp -s ${source} -d ${destination} --sport 32768 --dport 80 --state ESTABLISHED --timeout 100 2>/dev/null`,
  );

const quiet = '2>/dev/null';
const commands = {
  'element add': [`nft add element inet ns publish4 ${element}`, 'sent'],
  'element list': ['nft list map inet ns publish4', 'received'],
  'element delete': [`nft delete element inet ns publish4 ${element}`, 'sent'],
  'connections list': [`conntrack -L ${quiet}`, 'sent'],
  'connections IPv4': [`conntrack -L -f ipv4 ${quiet}`, 'received'],
  'connections IPv6': [`conntrack -L -f ipv6 ${quiet}`, 'received'],
  'connection delete': [`conntrack -D -p tcp -s 10.77.0.2 ${quiet}`, 'sent'],
  'rules delete': ['nft flush chain inet ns forward', 'sent'],
  'set delete': ['nft delete map inet ns publish4', 'sent'],
  'table create': ['nft create table inet ns2', 'sent'],
  'table delete': ['nft delete table inet ns', 'sent'],
};
const vectors = Object.fromEntries(
  Object.entries(commands).map(([name, [command, direction]]) => [
    name,
    { command: command.replace(` ${quiet}`, ''), messages: tracedMessages(command, direction) },
  ]),
);
const versions = ['nft --version', 'conntrack --version'].map((command) =>
  execFileSync('/bin/sh', ['-c', command]).toString().trim(),
);
writeFileSync(
  new URL('../test/golden/netfilter.json', import.meta.url),
  `${JSON.stringify({ versions, vectors }, null, 1)}\n`,
);
