import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Network, prune } from '@ns/core';
import { link } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
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

test('SIGKILL at any moment leaves nothing in networks, and what is another process of theirs untouched', async () => {
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
    for (let round = 0; round < rounds; round++) {
      const owner = program.start([operation]);
      await once(owner.stdout, 'data');
      const afterMs = 200 * Math.random();
      await delay(afterMs);
      const ended = once(owner, 'exit');
      owner.kill('SIGKILL');
      await ended;
      // Others look at what is just being removed, and remove it, too.
      if (round > 0) {
        await Network.list();
        expect(await prune()).toMatchObject({ failed: [] });
      }
      await eventually(async () => isDeepStrictEqual(await everything(), before), 5000);
      expect({ operation, afterMs, ...(await everything()) }).toEqual({ operation, afterMs, ...before });
    }
  }
  await link.remove('parent');
}, 240_000);
