import { mkdirSync, rmSync } from 'node:fs';
import {
  attachMount,
  bindMount,
  createMount,
  makePrivate,
  mountFileSystem,
  mountsBelow,
  openRoot,
  readMountinfo,
  resolveInRoot,
  unmountAll,
} from '@ns/mounts';
import { needs, notRoot } from '@ns/testing';

needs(notRoot)('the example of the README', () => {
  const host = `/srv/ns-mounts-readme-${process.pid}`;
  const guest = `${host}/guest`;
  for (const name of ['guest', 'data/inner']) mkdirSync(`${host}/${name}`, { recursive: true });
  mountFileSystem({ type: 'tmpfs', target: guest }).close();
  makePrivate(guest);
  mountFileSystem({ type: 'tmpfs', target: `${host}/data/inner` }).close();
  try {
    using root = openRoot(guest);
    using data = resolveInRoot(root.fd, '/var/lib/data', { create: 'directory' });
    bindMount(`${host}/data`, data, {
      recursive: true,
      readonly: true,
      options: ['rnosuid'],
      propagation: 'rslave',
    }).close();

    using scratch = createMount({ type: 'tmpfs', options: ['size=64m', 'mode=1777', 'nosuid', 'nodev'] });
    using tmp = resolveInRoot(root.fd, '/tmp', { create: 'directory' });
    attachMount(scratch, tmp);

    const here = readMountinfo().filter(({ target }) => target.startsWith(`${guest}/`));
    expect(here.map(({ target, type }) => `${target.slice(guest.length)} ${type}`)).toEqual(
      expect.arrayContaining(['/tmp tmpfs', '/var/lib/data/inner tmpfs']),
    );
    expect(here.find(({ target }) => target.endsWith('inner'))?.options).toEqual(
      expect.arrayContaining(['ro', 'nosuid']),
    );
    unmountAll(guest);
    expect(mountsBelow(guest)).toEqual([]);
  } finally {
    unmountAll(host);
    rmSync(host, { recursive: true });
  }
});
