import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';

const rootTest = needs(notRoot);

rootTest('a command that was executed before is in a cgroup of its own, and as it is asked for this time', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  const shell = (script: string, options = {}) => container.exec(['sh', '-c', script], options);
  const cgroups = new Set<string>();
  for (let i = 0; i < 4; i++) cgroups.add((await shell('cat /proc/self/cgroup')).stdout);
  expect(cgroups.size).toBe(4);
  for (const cwd of ['/tmp', '/usr', '/tmp', '/usr', '/tmp'])
    expect((await shell('pwd', { cwd })).stdout.trim()).toBe(cwd);
  for (const word of ['one', 'two', 'one', 'two', 'one'])
    expect((await shell('echo $WORD', { env: { WORD: word } })).stdout.trim()).toBe(word);
  for (const user of [undefined, 'nobody', undefined, 'nobody', undefined])
    expect((await shell('id -u', user && { user })).stdout.trim()).toBe(user ? '65534' : '0');
  for (const timeout of [undefined, 50, undefined, 50])
    expect((await shell('sleep 0.3', timeout && { timeout })).reason).toBe(timeout ? 'timeout' : 'exit');
});
