import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Network } from '@ns/core';
import { link, NetNamespace, neighbour } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { idle, makeOutside, useOwnHost } from './network-host.ts';

useOwnHost();

const VNI = 79;
/** Sends a frame to all, from the MAC address 02:00:00:00:00:XX, as a tunnel's other end would. */
const SEND = `const [,from,to,port,last]=process.argv;const s=require('dgram').createSocket('udp4');const frame=Buffer.from('0800000000004f00'+'ffffffffffff'+'0200000000'+last+'88b5'+'00'.repeat(46),'hex');s.bind(0,from,()=>s.send(frame,+port,to,()=>s.close()))`;
const HEAR = `const s=require('dgram').createSocket('udp4');s.on('message',(d)=>console.log('frame of '+d.subarray(14,20).toString('hex')));s.bind(+process.argv[1],()=>console.log('up'))`;

function enter(netns: NetNamespace, ...command: readonly string[]): [string, string[]] {
  return ['nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, process.execPath, '-e', ...command]];
}

needs(await missingVxlan())(
  'a tunnel takes frames of its peers, and of nobody else',
  async () => {
    using outside = await makeOutside();
    const sendFrom = (from: string, last: string) =>
      execFileSync(...enter(outside, SEND, from, '198.51.100.1', '4789', last), { stdio: 'inherit' });
    try {
      await using network = await Network.create({
        name: 'tunnelled',
        driver: 'vxlan',
        subnet: '10.61.0.0/16',
        ipv6: false,
        vni: VNI,
        local: '198.51.100.1',
        peers: ['198.51.100.2'],
        dns: [],
      });
      await using other = await Network.create({ name: 'other', ipv6: false, dns: [] });
      await using stranger = await idle({ network: other });
      await using member = await idle({ network });
      const sendInside = (to: string, port: string, last: string) =>
        stranger.exec(process.execPath, ['-e', SEND, '0.0.0.0', to, port, last], { check: true });
      const tunnel = (await link.list()).find(({ name }) => name.startsWith('nsx'))!.name;
      /** The kernel knows by whom a frame came. */
      const learnt = async () =>
        (await neighbour.listFdb({ link: tunnel }))
          .filter(({ mac, destination }) => destination && mac?.startsWith('02:00:00:00:00:'))
          .map(({ mac, destination }) => `${mac} by ${destination}`);

      const peer = spawn(...enter(outside, HEAR, '4789'), { stdio: ['ignore', 'pipe', 'inherit'] });
      const elsewhere = spawn(...enter(outside, HEAR, '4790'), { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        await Promise.all([once(peer.stdout, 'data'), once(elsewhere.stdout, 'data')]);
        let heard = '';
        peer.stdout.on('data', (data) => {
          heard += data;
        });
        sendFrom('198.51.100.3', '03');
        for (const own of ['198.51.100.1', '10.61.0.1']) await sendInside(own, '4789', '05');
        await member.exec(process.execPath, ['-e', SEND, '0.0.0.0', '198.51.100.1', '4789', '06'], { check: true });
        // Its source would be this host's, whom the peer believes.
        await sendInside('198.51.100.2', '4789', '07');
        const passed = once(elsewhere.stdout, 'data');
        await sendInside('198.51.100.2', '4790', '08');
        expect(String((await passed)[0])).toBe('frame of 020000000008\n');
        sendFrom('198.51.100.2', '02');
        expect(await eventually(async () => (await learnt()).length > 0)).toBe(true);
        expect(await learnt()).toEqual(['02:00:00:00:00:02 by 198.51.100.2']);
        expect(heard).not.toContain('020000000007');
      } finally {
        for (const child of [peer, elsewhere]) {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
      }
    } finally {
      await link.remove('uplink', { ifMissing: 'ignore' });
    }
  },
  60_000,
);

async function missingVxlan(): Promise<string | undefined> {
  if (notRoot !== undefined) return notRoot;
  using netns = await NetNamespace.create();
  try {
    await link.createVxlan({ name: 'try', id: 1, netns });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
