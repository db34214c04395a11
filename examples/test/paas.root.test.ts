import { needs, notRoot } from '@ns/testing';
import { exampleFile, notBuilt, runInOwnNetwork } from './own-network.ts';

const program = exampleFile('paas');

needs(notRoot ?? notBuilt(program))(
  'three replicas are replaced one after another, and no customer notices',
  async () => {
    expect(await runInOwnNetwork(program)).toBe(
      ['three replicas say: 1 1 1', 'while release 2 came, customers heard: 1, 2', 'now they say: 2 2 2', ''].join(
        '\n',
      ),
    );
  },
  120_000,
);
