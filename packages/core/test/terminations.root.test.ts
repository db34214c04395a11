import { needs, notRoot } from '@ns/testing';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Worker threads that are terminated in the middle of everything. */

const rootTest = needs(notRoot);
useOwnStateRoot();

rootTest(
  'a worker thread can be terminated at any moment, and the process lives',
  async () => {
    using program = new NodeProgram('terminations');
    // Twenty times another moment each day: what fails once is found by its seed.
    const seed = String(Math.floor(Date.now() / 86_400_000));
    const { stdout, ...end } = await program.run(['20', seed]);
    expect({ seed, ...end }).toEqual({ seed, exitCode: 0, signal: null, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ terminated: 20 });
  },
  120_000,
);
