import { detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Limits that this machine cannot set: on v1 there is no memory.high, on v2 no swappiness. */

useOwnStateRoot();
const rootTest = needs(notRoot);
const v2 = detectCgroups().controllers.get('memory')?.version === 2;
const absent = v2 ? { memorySwappiness: 10 } : { memoryHigh: '32MiB' };
const field = v2 ? 'limits.memorySwappiness' : 'limits.memoryHigh';

rootTest('are refused', async () => {
  await expect(run('true', [], { limits: { memory: '64MiB', ...absent } })).rejects.toMatchObject({
    code: 'ERR_NS_UNAVAILABLE',
    feature: field,
    message: expect.stringMatching(new RegExp(`^${field} `)),
    hint: expect.stringContaining("missing: 'warn'"),
  });
});

rootTest("or done without, if 'missing' says so, with a warning", async () => {
  const limits = { memory: '64MiB', ...absent, missing: 'warn' } as const;
  const warning = { code: 'NS_LIMIT_NOT_SET', name: field, message: expect.stringContaining(field) };
  expect((await run('true', [], { limits })).warnings).toMatchObject([warning]);
  await using container = await Container.create({ command: ['sleep', '60'], limits });
  await container.start();
  expect(container.warnings).toMatchObject([warning]);
  expect((await container.stats()).memory?.maxBytes).toBe(64 * 2 ** 20);
  await container.update({ limits: { memory: '32MiB', ...absent } });
  expect((await container.stats()).memory?.maxBytes).toBe(32 * 2 ** 20);
});

rootTest('are refused by an update', async () => {
  await using container = await Container.create({ command: ['sleep', '60'], limits: { memory: '64MiB' } });
  await container.start();
  await expect(container.update({ limits: absent })).rejects.toMatchObject({
    code: 'ERR_NS_UNAVAILABLE',
    feature: field,
  });
});
