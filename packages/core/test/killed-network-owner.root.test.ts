import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Container, Network, prune } from '@ns/core';
import { link } from '@ns/netns';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { idle, useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

/* In every moment of a container's life its owner may be killed, and nothing of it stays in networks, its own or those of others. */

const test = needs(notRoot);
const { stateRoot } = useOwnHost();
const rounds = 3;

let program: NodeProgram;
beforeAll(() => {
  program = new NodeProgram('killed-network-owner');
});
afterAll(() => program[Symbol.dispose]());

/** What the kernel and the disk have of containers and networks. Elements of sets have no order. */
async function everything() {
  const rules = execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });
  return {
    rules: rules.split(/[\s,]+/).sort(),
    links: (await link.list()).map(({ name }) => name).sort(),
    files: filesNow(),
  };
}

function filesNow(): string[] {
  try {
    return readdirSync(stateRoot, { recursive: true, encoding: 'utf8' }).sort();
  } catch {
    return ['what was removed while it was read'];
  }
}

test('what lives on keeps its place in networks when its maker is killed', async () => {
  await using web = await Network.create({ name: 'web', dns: [] });
  await using other = await Network.create({ name: 'other', dns: [] });
  // Directories and chains are there from the first one on.
  const policed = { ports: ['0:80'], egress: { allow: ['10.1.0.0/16', 'a.example.com'] } };
  for (const network of [web, other])
    await (await idle({ network, name: 'first', ...policed })).remove({ force: true });
  const empty = await everything();
  const { child: owner, killed } = await program.begin(['lasting']);
  const before = await everything();
  owner.kill('SIGKILL');
  await killed;
  // As long as a caretaker might take.
  await delay(500);
  expect(await everything()).toEqual(before);
  for (const network of [web, other]) expect((await network.inspect()).containers).toHaveLength(1);
  await (await Container.get('lasting')).remove({ force: true });
  expect(await everything()).toEqual(empty);
});

for (const operation of ['running own', 'running own with a policy'])
  test(`killed, the last who has a network leaves no table: ${operation}`, async () => {
    const rules = async () => (await everything()).rules;
    expect(await rules()).toEqual(['']);
    const { child: owner } = await program.begin([operation]);
    expect(await rules()).toContain('publish4');
    const caretaker = processEntries().find(({ name, parent }) => name === 'ns-caretaker' && parent === owner.pid)!;
    owner.kill('SIGKILL');
    expect(await eventually(() => !processEntries().some(({ pid }) => pid === caretaker.pid))).toBe(true);
    expect(await rules()).toEqual(['']);
  });

for (const way of ['SIGKILL', 'worker'] as const)
  test(`${way} at any moment leaves nothing in networks, and what is there of others is untouched`, async () => {
    await link.createVeth({ name: 'parent', up: true, peer: { name: 'wire', up: true } });
    await using web = await Network.create({ name: 'web', dns: [] });
    await using _other = await Network.create({ name: 'other', dns: [] });
    await using upper = await Network.create({
      name: 'upper',
      driver: 'macvlan',
      parent: 'parent',
      subnet: '10.99.0.0/24',
    });
    const policed = { egress: { allow: ['10.1.0.0/16'] }, ports: ['0:80'] };
    await using _neighbour = await idle({ network: web, name: 'neighbour', ...policed });
    await using _apart = await idle(policed);
    // The network has a directory for its members from the first one on.
    await (await idle({ network: upper })).remove({ force: true });
    const before = await everything();
    const operations = ['plain', 'ports', 'policed', 'own', 'own with a policy', 'several', 'upper', 'run', 'connect'];
    for (const operation of [...operations, 'update', 'restart']) {
      for (let round = 0; round < (way === 'SIGKILL' ? rounds : 1); round++) {
        const { child: owner, killed } = await program.begin([operation, way]);
        const afterMs = 200 * Math.random();
        await Promise.race([delay(afterMs), killed]);
        const terminated = once(owner.stdout, 'data');
        if (way === 'SIGKILL') owner.kill('SIGKILL');
        else owner.stdin.write('end\n');
        await (way === 'SIGKILL' ? killed : Promise.race([terminated, killed]));
        // Others look at what is just being removed, and remove it, too.
        if (round > 0) {
          await Network.list();
          expect(await prune()).toMatchObject({ failed: [] });
        }
        // A look takes much longer than the time between two.
        await eventually(async () => isDeepStrictEqual(await everything(), before), 1_000);
        expect({ operation, afterMs, ...(await everything()) }).toEqual({ operation, afterMs, ...before });
        owner.kill('SIGKILL');
      }
    }
    await link.remove('parent');
  }, 240_000);
