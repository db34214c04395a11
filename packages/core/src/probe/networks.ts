import { chainPayload, NETLINK, NetlinkError, NetlinkSocket, nftablesType } from '@ns/netlink';
import { type Link, link, NetNamespace } from '@ns/netns';
import { Lacking, type Trial, type Trials } from './capability.ts';
import { findProgram } from './programs.ts';

/** Networks. */
export type NetworkFeature = 'bridge' | 'veth' | 'macvlan' | 'ipvlan' | 'vxlan' | 'nftables';

const NFPROTO_INET = 1; // <linux/netfilter.h>

/** Links and rules are made in a network namespace that nothing else is in. */
export const networkTrials: Trials<NetworkFeature> = {
  bridge: inNewNetwork((netns) => link.createBridge({ name: 'probe', netns })),
  veth: inNewNetwork((netns) => link.createVeth({ name: 'probe', netns, peer: { name: 'peer', netns } })),
  macvlan: inNewNetwork(async (netns) => {
    const parent = await link.createBridge({ name: 'parent', netns });
    return link.createMacvlan({ name: 'probe', parent: parent.name, netns });
  }),
  ipvlan: inNewNetwork(async (netns) => {
    const parent = await link.createBridge({ name: 'parent', netns });
    return link.createIpvlan({ name: 'probe', parent: parent.name, netns });
  }),
  vxlan: inNewNetwork((netns) => link.createVxlan({ name: 'probe', id: 1, netns })),
  async nftables() {
    await using netns = await newNetwork();
    using socket = NetlinkSocket.open({ protocol: NETLINK.NETFILTER, namespaceFd: netns.fd });
    try {
      // A table that is not there: the kernel has to have nf_tables to know.
      socket.request({
        type: nftablesType('GETCHAIN'),
        payload: chainPayload.encode({ family: NFPROTO_INET, attributes: { table: 'probe', name: 'probe' } }),
        doing: 'look for nf_tables',
      });
    } catch (error) {
      if (!(error instanceof NetlinkError && error.code === 'ENOENT')) throw error;
    }
    const nft = findProgram('nft');
    if (nft === undefined) throw new Lacking('there is no program nft', 'Install the package nftables');
    return nft;
  },
};

function inNewNetwork(make: (netns: NetNamespace) => Promise<Link>): Trial {
  return async () => {
    await using netns = await newNetwork();
    await make(netns);
  };
}

function newNetwork(): Promise<NetNamespace> {
  if (process.geteuid!() === 0) return NetNamespace.create({ loopback: 'down' });
  throw new Lacking(
    'links and rules of the host are for root to make',
    'Run as root, or connect containers with pasta or slirp4netns, which need no privileges',
  );
}
