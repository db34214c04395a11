import { readlinkSync } from 'node:fs';
import { pidfdOpen } from '@ns/libc';
import type { NetNamespace } from '@ns/netns';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { takeFromMountNamespace } from '../src/in-mount-namespace.ts';
import { Container } from '../src/index.ts';
import { replaceFiles } from '../src/network/network-files.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What this process does in the file system of a container that is not its friend. */

const rootTest = needs(notRoot);
useOwnStateRoot();

rootTest('what is no file in the place of one is not even opened', () =>
  leavesNothing(async () => {
    const listen = 'rm -f /etc/hosts; mkfifo /etc/hosts; touch /tmp/ready; exec cat /etc/hosts';
    await using container = await Container.create({ command: ['sh', '-c', listen] });
    await container.start();
    const sees = async (path: string) => (await container.exec('test', ['-e', path])).exitCode === 0;
    expect(await eventually(() => sees('/tmp/ready'))).toBe(true);
    const id = /\d+/.exec(readlinkSync(`/proc/${container.pid}/ns/net`))![0];
    const write = (path: string) =>
      replaceFiles(container.pid!, { id } as unknown as NetNamespace, [{ path, content: 'written\n' }]);
    for (let i = 0; i < 20; i++) write('/etc/hosts');
    write('/tmp/ready');
    expect((await container.exec('cat', ['/tmp/ready'])).stdout).toBe('written\n');
    expect(container.status).toBe('running');
    await container.kill('SIGKILL');
    expect((await container.wait()).stdout).toBe('');
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
