import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import {
  address,
  connectUserNetwork,
  installedUserNetworks,
  link,
  NetNamespace,
  PortInUseError,
  route,
  type UserNetworkProgram,
} from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { bindSocket } from '../src/ports/bound-socket.ts';
import { client, UDP_CLIENT } from './scene.ts';

// The host's network is not the machine's: both programs copy what they find, and answers must come from outside.
let outside: NetNamespace;
beforeAll(async () => {
  if (notRoot) return;
  check('unshare', syscall(SYS.unshare, CLONE.NEWNET));
  await link.setUp('lo');
  outside = await NetNamespace.create();
  await link.createVeth({ name: 'uplink', up: true, peer: { name: 'eth0', netns: outside, up: true } });
  for (const [four, six, where] of [
    ['198.51.100.1/24', '2001:db8:1::1/64', { link: 'uplink' }],
    ['198.51.100.2/24', '2001:db8:1::2/64', { link: 'eth0', netns: outside }],
  ] as const) {
    const { link: name, ...options } = where;
    await address.add(name, four, options);
    await address.add(name, six, { ...options, nodad: true });
  }
  await route.add({ to: 'default', via: '198.51.100.2' });
  await route.add({ to: 'default', via: '2001:db8:1::2' });
});
afterAll(() => outside?.close());

const SERVER = `for(const port of [80,81,82])require('net').createServer((s)=>s.end('from inside '+port)).listen(port,'::');
const u=require('dgram').createSocket('udp6');u.on('message',(d,r)=>u.send('heard '+d,r.port,r.address));u.bind(53,'::',()=>console.log('up'))`;

/** A server in user and network namespaces of its own. */
async function sandbox(): Promise<ChildProcess> {
  const child = spawn(
    'unshare',
    ['--user', '--map-root-user', '--net', process.execPath, '-e', `setTimeout(()=>{${SERVER}},100)`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout!, 'data');
  expect(readlinkSync(`/proc/${child.pid}/ns/net`)).not.toBe(readlinkSync('/proc/self/ns/net'));
  return child;
}

function ask(port: number, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, host);
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.on('close', () => resolve(text));
  });
}

function missingProgram(program: UserNetworkProgram): string | undefined {
  return notRoot ?? (installedUserNetworks().includes(program) ? undefined : `${program} is not installed`);
}

for (const program of ['pasta', 'slirp4netns'] as const) {
  const missing = missingProgram(program);
  needs(missing)(`${program} publishes ports of a namespace without privileges`, async () => {
    const child = await sandbox();
    try {
      await using network = await connectUserNetwork({ pid: child.pid!, program, ports: ['127.0.0.1::80'] });
      const [port] = network.ports;
      expect(port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', port: 80 });
      expect(await ask(port!.hostPort)).toBe('from inside 80');
      await network.close();
      await network.close();
      expect(await ask(port!.hostPort)).toBe('ECONNREFUSED');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  });

  needs(missing)(`${program} publishes ranges, and datagrams to somebody outside`, async () => {
    const child = await sandbox();
    const ports = ['127.0.0.1:18080-18082:80-82', '198.51.100.1::53/udp'];
    try {
      await using network = await connectUserNetwork({ pid: child.pid!, program, ports });
      expect(network.ports.map(({ protocol, port }) => `${port}/${protocol}`)).toEqual([
        '80/tcp',
        '81/tcp',
        '82/tcp',
        '53/udp',
      ]);
      expect(network.ports.map(({ hostPort }) => hostPort).slice(0, 3)).toEqual([18080, 18081, 18082]);
      for (const { hostPort, port } of network.ports.slice(0, 3))
        expect(await ask(hostPort)).toBe(`from inside ${port}`);
      expect(await client(outside, UDP_CLIENT, '198.51.100.1', network.ports[3]!.hostPort)).toBe('heard hello');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  });
}

needs(missingProgram('pasta'))('pasta publishes ports on addresses of IPv6', async () => {
  const child = await sandbox();
  try {
    const ports = ['[::1]::80', '[2001:db8:1::1]::53/udp'];
    await using network = await connectUserNetwork({ pid: child.pid!, program: 'pasta', ports });
    const [tcp, udp] = network.ports;
    expect(await ask(tcp!.hostPort, '::1')).toBe('from inside 80');
    // Inside, the duplicate address test keeps the address back for a second or two.
    const answered = async () => (await client(outside, UDP_CLIENT, '2001:db8:1::1', udp!.hostPort)) === 'heard hello';
    expect(await eventually(answered)).toBe(true);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
});

needs(missingProgram('slirp4netns'))('what slirp4netns cannot publish is refused before it is started', async () => {
  for (const port of ['[::1]::80', '127.0.0.1::53/udp'])
    await expect(connectUserNetwork({ pid: process.pid, program: 'slirp4netns', ports: [port] })).rejects.toMatchObject(
      { code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining('pasta') },
    );
});

needs(installedUserNetworks()[0] ? undefined : 'neither pasta nor slirp4netns is installed')(
  'a port that another program has is said to be in use',
  async () => {
    const { fd, port } = bindSocket({ protocol: 'tcp', address: '127.0.0.1', port: 0 });
    using _ = fd;
    await expect(connectUserNetwork({ pid: process.pid, ports: [`127.0.0.1:${port}:80`] })).rejects.toBeInstanceOf(
      PortInUseError,
    );
    await expect(connectUserNetwork({ pid: process.pid, ports: [`127.0.0.1:${port}:80`] })).rejects.toMatchObject({
      code: 'ERR_NS_PORT_IN_USE',
      message: expect.stringContaining(`port 127.0.0.1:${port}/tcp of the host is in use by another program`),
    });
  },
);

test('without a program it is said what there is', async () => {
  expect(installedUserNetworks('/nonexistent')).toEqual([]);
  await expect(connectUserNetwork({ pid: -1 })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

needs(notRoot)('a process that is not there', async () => {
  await expect(connectUserNetwork({ pid: 2 ** 22 - 1, timeoutMs: 1000 })).rejects.toMatchObject({
    code: expect.stringMatching(/ERR_NS_USER_NETWORK_FAILED|ERR_NS_UNAVAILABLE/),
  });
});
