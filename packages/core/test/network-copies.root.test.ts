import { needs, notRoot } from '@ns/testing';
import { useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
useOwnHost();

let program: NodeProgram;
beforeAll(() => {
  program = new NodeProgram('two-copies');
});
afterAll(() => program[Symbol.dispose]());

const said = {
  ALONE: {
    connected: ['done', 1],
    byUs: 'ERR_NS_CONTAINER_NOT_OURS',
    disconnected: 0,
    again: 1,
    removed: 'done',
  },
  CONNECTED: { connected: ['ERR_NS_CONTAINER_NOT_OURS', 0], removed: 'done' },
};

for (const [made, expected] of Object.entries(said))
  test(`another copy of the package connects a container that is ${made}, which leaves the network at its end`, async () => {
    const { stdout, stderr } = await program.run([made]);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(expected);
  });
