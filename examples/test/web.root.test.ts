import { needs, notRoot } from '@ns/testing';
import { exampleFile, notBuilt, runInOwnNetwork } from './own-network.ts';

const program = exampleFile('web');

needs(notRoot ?? notBuilt(program))(
  'a web server is found by its name and through its port',
  async () => {
    expect(await runInOwnNetwork(program)).toBe(
      'a container says: hello from shop-web\nthe host says: hello from shop-web\n',
    );
  },
  120_000,
);
