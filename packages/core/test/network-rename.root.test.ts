import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Container, Network, prune } from '@ns/core';
import { link } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { idle, useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

/* A container that is renamed is found by its new name, and by the one before no more. */

const test = needs(notRoot);
const { stateRoot } = useOwnHost();

const resolveProgram = (names: readonly string[]) =>
  `Promise.all(${JSON.stringify(names)}.map((n)=>require('dns').promises.resolve4(n).then((a)=>a.join('+'),(e)=>e.code))).then((all)=>console.log(all.join(' ')))`;

/** What the name server of a container says of each name. */
async function lookUp(from: Container, ...names: string[]): Promise<string> {
  return (await from.exec(process.execPath, ['-e', resolveProgram(names)])).stdout.trim();
}

/** Renames containers in another process: `renamer CONTAINER NAME [step before which it is killed]`. */
const renamerText = `
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  import { Container } from '${new URL('../src/index.ts', import.meta.url).pathname}';
  const [which, name, step] = process.argv.slice(2);
  const container = await Container.get(which);
  let left = Number(step ?? 0);
  for (const method of ['writeFileSync', 'renameSync', 'symlinkSync', 'rmSync', 'ftruncateSync']) {
    const original = fs[method];
    fs[method] = (...args) => {
      if (--left === 0) process.kill(process.pid, 'SIGKILL');
      return original(...args);
    };
  }
  syncBuiltinESMExports();
  await container.rename(name);
  process.exit();
`;

test('neighbours on each of its networks find it by its new name alone, and by its aliases', async () => {
  await link.createVeth({ name: 'parent', up: true, peer: { name: 'wire', up: true } });
  await using web = await Network.create({ name: 'web', dns: [] });
  await using other = await Network.create({ name: 'other', internal: true });
  const upper = await Network.create({
    name: 'upper',
    driver: 'macvlan',
    parent: 'parent',
    subnet: '10.99.0.0/24',
    dns: [],
  });
  try {
    await using c = await idle({
      name: 'green',
      network: [{ network: web, aliases: ['app', 'green'] }, upper],
      extraHosts: ['elsewhere:192.0.2.1'],
    });
    await using own = await idle({ name: 'host', hostname: 'host', network: web });
    await other.connect(c, { aliases: ['backend'] });
    await c.exec('sh', ['-c', 'echo 192.0.2.2 by-hand >> /etc/hosts']);
    await using onWeb = await idle({ network: web });
    await using onOther = await idle({ network: other });
    await using onUpper = await idle({ network: upper });
    const [ip, otherIp, upperIp] = ['web', 'other', 'upper'].map((name) => c.networks[name]!.address!);
    const short = c.id.slice(0, 12);
    expect(await lookUp(onUpper, 'green', 'blue')).toBe(`${upperIp} ENOTFOUND`);
    await c.rename('blue');
    expect(await lookUp(onOther, 'green', 'blue', 'backend')).toBe(`ENOTFOUND ${otherIp} ${otherIp}`);
    expect(await lookUp(onUpper, 'green', 'blue', short)).toBe(`ENOTFOUND ${upperIp} ${upperIp}`);
    // There its former name is an alias, too.
    expect(await lookUp(onWeb, 'green', 'blue', 'app', short)).toBe(`${ip} ${ip} ${ip} ${ip}`);
    expect(c.networks.other).toMatchObject({ address: otherIp, names: [short, 'blue', 'backend'] });
    const { stdout: hosts } = await c.exec('cat', ['/etc/hosts']);
    expect(hosts).toContain(`${otherIp}\t${short} blue\n`);
    expect(hosts).toMatch(/192\.0\.2\.1\telsewhere\n192\.0\.2\.2 by-hand\n$/);
    expect(hosts).not.toContain('green');
    await own.rename('guest');
    expect(await lookUp(onWeb, 'host', 'guest')).toBe(`${own.networks.web!.address} ${own.networks.web!.address}`);
    await expect(own.rename('blue')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_EXISTS' });
    expect(await lookUp(onWeb, 'guest')).toBe(own.networks.web!.address);
  } finally {
    await upper.remove({ force: true });
    await link.remove('parent');
  }
});

test('another process renames it, running and stopped; where it is connected and started next it has that name', async () => {
  using renamer = new NodeProgram('renamer', renamerText);
  await using web = await Network.create({ name: 'web', dns: [] });
  await using other = await Network.create({ name: 'other', dns: [] });
  await using c = await idle({ name: 'green', network: web });
  await using neighbour = await idle({ network: [web, other] });
  const address = c.networks.web!.address;
  expect(await renamer.run([c.id, 'blue'])).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await lookUp(neighbour, 'green', 'blue')).toBe(`ENOTFOUND ${address}`);
  expect((await c.exec('cat', ['/etc/hosts'])).stdout).toContain(`${address}\t${c.id.slice(0, 12)} blue\n`);
  await other.connect(c);
  await web.disconnect(c);
  expect(await lookUp(neighbour, 'green', 'blue')).toBe(`ENOTFOUND ${c.networks.other!.address}`);
  await c.stop({ timeout: 0 });
  expect(await renamer.run([c.id, 'red'])).toMatchObject({ exitCode: 0, stderr: '' });
  await c.start();
  expect(await lookUp(neighbour, 'green', 'blue', 'red')).toBe(`ENOTFOUND ENOTFOUND ${c.networks.web!.address}`);
  expect((await c.exec('cat', ['/etc/hosts'])).stdout).toContain(`${c.id.slice(0, 12)} red\n`);
});

test('two swap their names under the eyes of a neighbour: a name never leads to both, nor to who has another', async () => {
  await using web = await Network.create({ name: 'web', dns: [] });
  await using a = await idle({ name: 'blue', network: web });
  await using b = await idle({ name: 'green', network: web });
  const program = `const dns=require('dns').promises;const ask=(n)=>dns.resolve4(n).then((a)=>a.join('+'),(e)=>e.code);(async()=>{for(;;){console.log(await ask('blue'))}})()`;
  await using neighbour = await idle({ network: web });
  const asking = neighbour.exec(process.execPath, ['-e', program]);
  const answers = createInterface(asking.stdout)[Symbol.asyncIterator]();
  const next = async () => (await answers.next()).value;
  const [ipOfA, ipOfB] = [a, b].map((c) => c.networks.web!.address);
  expect(await next()).toBe(ipOfA);
  const seen: string[] = [];
  const swap = async () => {
    for (let round = 0; round < 10; round++) {
      const [blue, green] = round % 2 === 0 ? [a, b] : [b, a];
      await blue.rename('former');
      await green.rename('blue');
      await blue.rename('green');
      expect(await lookUp(neighbour, 'blue', 'green', 'former')).toBe(
        `${green.networks.web!.address} ${blue.networks.web!.address} ENOTFOUND`,
      );
    }
    return 'swapped' as const;
  };
  const swapping = swap();
  for (let done = false; !done; ) {
    const answer = await Promise.race([next(), swapping]);
    if (answer === 'swapped') done = true;
    else seen.push(answer);
  }
  asking.kill();
  await asking;
  expect(new Set(seen)).toEqual(new Set([ipOfA, ipOfB, ...(seen.includes('ENOTFOUND') ? ['ENOTFOUND'] : [])]));
}, 60_000);

test('killed before any step, who renames leaves no network that knows it by a name that is not its own', async () => {
  using renamer = new NodeProgram('renamer', renamerText);
  await using web = await Network.create({ name: 'web', dns: [] });
  await using c = await idle({ name: 'start', network: { network: web, aliases: ['app'] } });
  const names = async () => (await web.inspect()).containers.find(({ id }) => id === c.id)!.names;
  const short = c.id.slice(0, 12);
  let step = 1;
  for (let survived = false; !survived; step++) {
    const before = (await Container.list()).find(({ id }) => id === c.id)!.name!;
    const { signal, stderr } = await renamer.run([c.id, `name-${step}`, String(step)]);
    expect(stderr).toBe('');
    survived = signal === null;
    const now = (await Container.list()).find(({ id }) => id === c.id)!.name!;
    expect([before, `name-${step}`]).toContain(now);
    expect([[short, now, 'app'], ...(survived ? [] : [[short, 'app']])]).toContainEqual(
      (await names()).toSorted((a, b) => [short, now, 'app'].indexOf(a) - [short, now, 'app'].indexOf(b)),
    );
    for (const other of [before, `name-${step}`].filter((name) => name !== now)) {
      await using heir = await Container.create({ command: ['true'], name: other });
      expect(heir.name).toBe(other);
    }
    expect(await prune()).toMatchObject({ failed: [] });
    expect(await names()).toEqual([short, now, 'app']);
    expect(readdirSync(join(stateRoot, 'names'))).toEqual([now]);
  }
  expect(step).toBeGreaterThan(8);
  expect(readFileSync(`/proc/${c.pid}/root/etc/hosts`, 'utf8')).toContain(`${short} name-${step - 1}\n`);
}, 120_000);
