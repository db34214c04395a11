import { address, link, NetNamespace, shaping } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { client, inside, ResourceStack, serve } from './scene.ts';

const rootTest = needs(notRoot);

const SINK = `require('net').createServer((s)=>{let n=0;s.on('data',(d)=>n+=d.length);s.on('end',()=>s.end(String(n)))}).listen(80,()=>console.log('up'))`;
// Sends for a while and prints how many bits per second arrived.
const SOURCE = `const s=require('net').connect({host:process.argv[1],port:80,allowHalfOpen:true});const t=Date.now();const b=Buffer.alloc(65536);let a='';const w=()=>{while(Date.now()-t<1500)if(!s.write(b)){s.once('drain',w);return}s.end()};s.on('connect',w);s.on('data',(d)=>a+=d);s.on('end',()=>{console.log(Math.round(+a*8000/(Date.now()-t)));process.exit()})`;

async function pair(scope: ResourceStack) {
  const [a, b] = [scope.use(await NetNamespace.create()), scope.use(await NetNamespace.create())];
  await link.createVeth({ name: 'eth0', netns: a, up: true, peer: { name: 'eth0', netns: b, up: true } });
  await address.add('eth0', '10.1.0.1/24', { netns: a });
  await address.add('eth0', '10.1.0.2/24', { netns: b });
  return { a, b };
}

rootTest('a limit is what tc shows, and what arrives', async () => {
  await using scope = new ResourceStack();
  const { a, b } = await pair(scope);
  await shaping.limitRate('eth0', { bitsPerSec: 20_000_000, netns: a });
  expect(JSON.parse(inside(a, 'tc', '-j', 'qdisc', 'show', 'dev', 'eth0'))).toMatchObject([
    { kind: 'tbf', root: true, options: { rate: 2_500_000 } },
  ]);
  const [qdisc] = await shaping.list({ netns: a, link: 'eth0' });
  expect(qdisc).toMatchObject({ kind: 'tbf', parent: 'root', bitsPerSec: 20_000_000 });
  expect(qdisc!.burstBytes).toBeGreaterThan(32_000);
  await serve(scope, b, 'b', SINK);
  // Less may arrive when nobody sends: the machine has other work to do.
  const arrivesInTime = async () => {
    const measured = Number(await client(a, SOURCE, '10.1.0.2', 80));
    expect(measured).toBeLessThan(24_000_000);
    return measured > 10_000_000;
  };
  expect(await eventually(arrivesInTime)).toBe(true);
  await shaping.limitRate('eth0', { bitsPerSec: 80_000_000_000, netns: a });
  expect((await shaping.list({ netns: a, link: 'eth0' }))[0]).toMatchObject({ bitsPerSec: 80_000_000_000 });
  await shaping.reset('eth0', { netns: a });
  await shaping.reset('eth0', { netns: a });
  expect((await shaping.list({ netns: a, link: 'eth0' }))[0]).toMatchObject({ kind: 'noqueue' });
});

rootTest('delay is there, or it is said that the kernel has none', async () => {
  await using scope = new ResourceStack();
  const { a } = await pair(scope);
  const error = await shaping.impair('eth0', { delayMs: 50, loss: 0.1, netns: a }).catch((reason) => reason);
  if (error === undefined) {
    expect(JSON.parse(inside(a, 'tc', '-j', 'qdisc', 'show', 'dev', 'eth0'))).toMatchObject([
      { kind: 'netem', options: { delay: { delay: 0.05 }, 'loss-random': { loss: expect.closeTo(0.1) } } },
    ]);
  } else
    expect(error).toMatchObject({ code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining('CONFIG_NET_SCH_NETEM') });
  await expect(shaping.limitRate('eth0', { bitsPerSec: 1, netns: a })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
  });
  await expect(shaping.impair('eth0', { loss: 2, netns: a })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});
