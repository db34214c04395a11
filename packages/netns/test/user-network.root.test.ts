import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { connectUserNetwork, installedUserNetworks } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';

const SERVER = `require('net').createServer((s)=>s.end('from inside')).listen(80,()=>console.log('up'))`;

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

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1');
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.on('close', () => resolve(text));
  });
}

for (const program of ['pasta', 'slirp4netns'] as const) {
  const missing = notRoot ?? (installedUserNetworks().includes(program) ? undefined : `${program} is not installed`);
  needs(missing)(
    `${program} publishes ports of a namespace without privileges`,
    async () => {
      const child = await sandbox();
      try {
        await using network = await connectUserNetwork({ pid: child.pid!, program, ports: ['127.0.0.1::80'] });
        const [port] = network.ports;
        expect(port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', port: 80 });
        expect(await ask(port!.hostPort)).toBe('from inside');
        await network.close();
        await network.close();
        expect(await ask(port!.hostPort)).toBe('ECONNREFUSED');
      } finally {
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    },
    20_000,
  );
}

test('without a program it is said what there is', async () => {
  expect(installedUserNetworks('/nonexistent')).toEqual([]);
  await expect(connectUserNetwork({ pid: -1 })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

needs(notRoot)('a process that is not there', async () => {
  await expect(connectUserNetwork({ pid: 2 ** 22 - 1, timeoutMs: 1000 })).rejects.toMatchObject({
    code: expect.stringMatching(/ERR_NS_USER_NETWORK_FAILED|ERR_NS_UNAVAILABLE/),
  });
});
