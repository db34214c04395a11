import { Container, Network } from '../../src/index.ts';

/*
 * A process with two copies of the package: one makes a container, the other connects it. Says what became of that and of the
 * network when the container had ended: `two-copies ALONE|CONNECTED`.
 */

export { Network };

const [made] = process.argv.slice(2);
if (!import.meta.url.includes('?')) {
  const other = ((await import(`${import.meta.url}?other`)) as { Network: typeof Network }).Network;
  const web = await Network.create({ name: 'web', dns: [] });
  const back = await Network.create({ name: 'back', internal: true });
  const said: Record<string, unknown> = {};
  const members = async () => (await web.inspect()).containers.length;
  const codeOf = (act: Promise<unknown>) =>
    act.then(
      () => 'done',
      ({ code }: { code: string }) => code,
    );
  const c = await Container.create({ command: ['sleep', '600'], ...(made === 'CONNECTED' && { network: back }) });
  await c.start();
  const ofOther = await other.get('web');
  said.connected = [await codeOf(ofOther.connect(c.id)), await members()];
  if (made === 'ALONE') {
    said.byUs = await codeOf(back.connect(c));
    await web.disconnect(c);
    said.disconnected = await members();
    await ofOther.connect(c.id);
    await c.restart({ timeout: 0 });
    await ofOther.connect(c.id);
    said.again = await members();
  }
  await c.kill();
  said.removed = await codeOf(web.remove());
  await ofOther.close();
  await c.remove({ force: true });
  await Promise.all([web, back].map((network) => network.remove({ force: true })));
  console.log(JSON.stringify(said));
}
