import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { address, Firewall, link, NetNamespace, route, sysctl } from '@ns/netns';

export const nsenter = (netns: NetNamespace, ...command: string[]): [string, string[]] => [
  'nsenter',
  [`--net=/proc/${process.pid}/fd/${netns.fd}`, ...command],
];
export function inside(netns: NetNamespace, ...command: string[]): string {
  return execFileSync(...nsenter(netns, ...command), { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}
export const TCP_SERVER = `require('net').createServer({allowHalfOpen:true},(s)=>{s.on('error',()=>{});s.on('data',(d)=>s.write(process.argv[1]+' saw '+s.remoteAddress+' '+d));s.on('end',()=>s.end())}).listen(80,'::',()=>console.log('up'))`;
export const UDP_SERVER = `for(const t of ['udp4','udp6']){const s=require('dgram').createSocket({type:t,ipv6Only:t==='udp6'});s.on('message',(d,r)=>s.send(process.argv[1]+' heard '+d,r.port,r.address));s.bind(5353,()=>console.log('up'))}`;
export const TCP_CLIENT = `const s=require('net').connect({host:process.argv[1],port:+process.argv[2],timeout:+process.argv[3]});s.on('connect',()=>s.end('hello'));s.on('data',(d)=>process.stdout.write(d));s.on('timeout',()=>{console.log('TIMEOUT');process.exit()});s.on('error',(e)=>console.log(e.code))`;
export const UDP_CLIENT = `const h=process.argv[1];const s=require('dgram').createSocket(h.includes(':')?'udp6':'udp4');s.on('message',(d)=>{console.log(''+d);process.exit()});setTimeout(()=>{console.log('TIMEOUT');process.exit()},+process.argv[3]);s.send('hello',+process.argv[2],h)`;

/** Runs a client program, which has some patience, without holding this process: the proxy lives here. */
export async function client(
  netns: NetNamespace,
  program: string,
  host: string,
  port: number | string,
  patienceMs = 15_000,
): Promise<string> {
  const child = spawn(...nsenter(netns, process.execPath, '-e', program, host, String(port), String(patienceMs)), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  await once(child, 'close');
  return output.trim();
}

const LOOKUP = `const r=new (require('dns').promises.Resolver)({timeout:10000,tries:1});const [name,spec]=process.argv.slice(1);const [type,...server]=spec.split(' ');r.setServers([server[0]]);(type==='PTR'?r.reverse(name):r.resolve(name,type)).then((a)=>console.log(a.sort().join(' ')),(e)=>console.log(e.code))`;

/** Asks a name server, without Node's caches in between. */
export function lookUp(netns: NetNamespace, name: string, type = 'A', server = '10.88.1.1'): Promise<string> {
  // The client helper passes a host and a number; here they are a name and what to ask where.
  return client(netns, LOOKUP, name, `${type} ${server}`);
}

/** A namespace for whoever takes part. */
export async function machine(scope: ResourceStack): Promise<NetNamespace> {
  const netns = scope.use(await NetNamespace.create());
  // The duplicate address test keeps link-local addresses, and with them neighbour discovery, back for a second.
  await sysctl.set('net.ipv6.conf.default.accept_dad', 0, { netns });
  return netns;
}

/** A host, 198.51.100.1, and somebody outside it, 198.51.100.2; the last digit is that of their IPv6 addresses, too. */
export async function hostAndOutside(scope: ResourceStack) {
  const [host, outside] = [await machine(scope), await machine(scope)];
  await link.createVeth({ name: 'eth0', netns: host, up: true, peer: { name: 'eth0', netns: outside, up: true } });
  for (const [netns, four, six] of [
    [host, '198.51.100.1/24', '2001:db8:1::1/64'],
    [outside, '198.51.100.2/24', '2001:db8:1::2/64'],
  ] as const) {
    await address.add('eth0', four, { netns });
    await address.add('eth0', six, { netns, nodad: true });
  }
  return { host, outside };
}

/** Whether frames between neighbours of a bridge pass the chains for what is forwarded; where br_netfilter is loaded. */
export async function setBridgeNetfilter(host: NetNamespace, value: 0 | 1): Promise<void> {
  if (!existsSync('/proc/sys/net/bridge')) return;
  for (const tables of ['iptables', 'ip6tables'])
    await sysctl.set(`net.bridge.bridge-nf-call-${tables}`, value, { netns: host });
}

/** A host, somebody outside it, and two containers on one bridge; a third on another bridge. */
export async function scene(scope: ResourceStack) {
  const { host, outside } = await hostAndOutside(scope);
  const [a, b, c] = [await machine(scope), await machine(scope), await machine(scope)];
  const firewall = scope.use(await Firewall.open({ netns: host }));
  for (const [bridge, n, members] of [
    ['br0', 1, [a, b]],
    ['br1', 2, [c]],
  ] as const) {
    await link.createBridge({ name: bridge, netns: host, up: true });
    await address.add(bridge, `10.88.${n}.1/24`, { netns: host });
    await address.add(bridge, `fd00:${n}::1/64`, { netns: host, nodad: true });
    await firewall.addNetwork({ bridge, subnets: [`10.88.${n}.0/24`, `fd00:${n}::/64`] });
    for (const [index, netns] of members.entries()) {
      await link.createVeth({
        name: `v${n}${index}`,
        netns: host,
        master: bridge,
        up: true,
        peer: { name: 'eth0', netns, up: true },
      });
      // With br_netfilter a container's own published port comes back through the bridge port it left by.
      await link.setBridgePort(`v${n}${index}`, { hairpin: true, netns: host });
      await address.add('eth0', `10.88.${n}.${index + 2}/24`, { netns });
      await address.add('eth0', `fd00:${n}::${index + 2}/64`, { netns, nodad: true });
      await route.add({ to: 'default', via: `10.88.${n}.1`, netns });
      await route.add({ to: 'default', via: `fd00:${n}::1`, netns });
    }
  }
  return { host, outside, a, b, c, firewall };
}

export async function serve(
  scope: ResourceStack,
  netns: NetNamespace,
  name: string,
  program: string,
): Promise<ChildProcessByStdio<null, Readable, null>> {
  const child = spawn(...nsenter(netns, process.execPath, '-e', program, name), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  scope.defer(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  await once(child.stdout, 'data');
  return child;
}

/** What arrives on UDP port 9: texts with ` as ` in them. */
export async function hearUdp(scope: ResourceStack, netns: NetNamespace): Promise<string[]> {
  const heard: string[] = [];
  const program = `for(const t of ['udp4','udp6'])require('dgram').createSocket({type:t,ipv6Only:t==='udp6'}).on('message',(d)=>console.log(''+d)).bind(9,()=>console.log('up'))`;
  const child = await serve(scope, netns, 'hear', program);
  child.stdout.on('data', (data: Buffer) =>
    heard.push(
      ...data
        .toString()
        .split('\n')
        .filter((line) => / as /.test(line)),
    ),
  );
  return heard;
}

/** What AsyncDisposableStack is from Node 24 on. */
export class ResourceStack {
  readonly #closers: (() => unknown)[] = [];
  use<Resource extends AsyncDisposable | Disposable>(resource: Resource): Resource {
    this.#closers.push(() =>
      Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : (resource as Disposable)[Symbol.dispose](),
    );
    return resource;
  }
  defer(closer: () => unknown): void {
    this.#closers.push(closer);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
  }
}
