import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { listNamespaces, Namespace, unpin } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';

needs(notRoot)('the calls that programs are written against', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-api-'));
  try {
    const path = join(directory, 'blue');
    using made = Namespace.create('net');
    made.pin(path);
    using net = Namespace.open('net', { path });
    const { dev, ino } = statSync(path);
    expect(net.id).toEqual({ device: dev, inode: ino });
    expect(net.enter(() => networkInterfaces())).toEqual({});

    using ours = Namespace.open('net', { pid: process.pid });
    expect(ours.id.inode).toBe(statSync('/proc/self/ns/net').ino);
    using owner = net.owner();
    expect(owner.id.inode).toBe(statSync('/proc/self/ns/user').ino);
    using pids = Namespace.open('pid', { pid: process.pid });
    using around = pids.parent();
    expect(around === undefined || around.kind === 'pid').toBe(true);

    const listed = listNamespaces().find(({ name }) => name === net.name);
    expect(listed).toMatchObject({ kind: 'net', processes: [], pins: [path], owner: owner.id.inode });
    expect([unpin(path), existsSync(path)]).toEqual([true, false]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
