import { readFileSync, readlinkSync } from 'node:fs';
import { pidfdOpen } from '@ns/libc';
import type { NetNamespace } from '@ns/netns';
import { eventually, FileLease, needs, notRoot, processEntries } from '@ns/testing';
import { takeFromMountNamespace } from '../src/in-mount-namespace.ts';
import { Container } from '../src/index.ts';
import { replaceFiles } from '../src/network/network-files.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What this process does in the file system of a container that is not its friend. */

const rootTest = needs(notRoot);
useOwnStateRoot();

function replace({ pid }: Container, path: string): void {
  const id = /\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))![0];
  replaceFiles(pid!, { id } as unknown as NetNamespace, [{ path, content: 'written\n' }]);
}

rootTest('what is no file in the place of one is not even opened', () =>
  leavesNothing(async () => {
    const listen = 'rm -f /etc/hosts; mkfifo /etc/hosts; touch /tmp/ready; exec cat /etc/hosts';
    await using container = await Container.create({ command: ['sh', '-c', listen] });
    await container.start();
    const sees = async (path: string) => (await container.exec('test', ['-e', path])).exitCode === 0;
    expect(await eventually(() => sees('/tmp/ready'))).toBe(true);
    const write = (path: string) => replace(container, path);
    for (let i = 0; i < 20; i++) write('/etc/hosts');
    write('/tmp/ready');
    expect((await container.exec('cat', ['/tmp/ready'])).stdout).toBe('written\n');
    expect(container.status).toBe('running');
    await container.kill('SIGKILL');
    expect((await container.wait()).stdout).toBe('');
  }),
);

rootTest('who holds a lease on such a file does without the new one, and holds nobody up', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sleep', '60'] });
    await container.start();
    const hosts = `/proc/${container.pid}/root/etc/hosts`;
    const before = readFileSync(hosts, 'utf8');
    const begin = performance.now();
    {
      using _lease = new FileLease(hosts);
      replace(container, '/etc/hosts');
    }
    expect(performance.now() - begin).toBeLessThan(5000);
    expect(readFileSync(hosts, 'utf8')).toBe(before);
    replace(container, '/etc/hosts');
    expect(readFileSync(hosts, 'utf8')).toBe('written\n');
  }),
);

rootTest('of a helper that is killed is said what became of it', () =>
  leavesNothing(async () => {
    using pidfd = pidfdOpen(process.pid);
    const run = { launched: { pidfd, namespaces: new Map() }, design: { namespaces: { joined: [] } } };
    // Nobody tells it any, and it hands over nothing.
    const work = takeFromMountNamespace(run as never, { inside: [{ op: 'receiveSteps' }] });
    const refused = expect(work).rejects.toMatchObject({ code: 'ECHILD', syscall: 'wait4' });
    const helpers = () =>
      processEntries().filter(({ parent, name }) => parent === process.pid && /^ns-mount/.test(name));
    expect(await eventually(() => helpers().length > 0)).toBe(true);
    for (const { pid } of helpers()) process.kill(pid, 'SIGKILL');
    await refused;
  }),
);
