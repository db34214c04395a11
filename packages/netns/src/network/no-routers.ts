import { writeFileSync } from 'node:fs';
import { insideReference, type NetnsReference } from '../namespace-reference.ts';

/**
 * A link of a network takes no router's word: any container could call itself one, and read what the host or its neighbours
 * send by IPv6, also where the network has IPv4 only (CVE-2020-10749, CVE-2020-13401). And it asks nobody whether its
 * addresses are taken, which are made from addresses we handed out. To be called before the link is up; a kernel without IPv6
 * has nothing to set.
 */
export function believeNoRouter(link: string, netns: NetnsReference | undefined): void {
  insideReference(netns, () => {
    for (const name of ['accept_ra', 'accept_dad'] as const) setIfThere(`/proc/sys/net/ipv6/conf/${link}/${name}`, '0');
  });
}

function setIfThere(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
