import { writeFileSync } from 'node:fs';
import { fileCall, hasCode, holdBriefly, UnavailableError } from '@ns/libc';
import { insideReference, type NetnsReference } from '../namespace-reference.ts';

/*
 * No link of a network takes a router's word: any container could call itself one, and read what the host or its neighbours
 * send by IPv6, also where the network has IPv4 only (CVE-2020-10749, CVE-2020-13401). Nor does it say more than it must: what
 * it says goes out of every port of the bridge, and with hundreds of them that was most of the time of a connect.
 *
 * A namespace may have been made such that its links are born like that. To be called before the link is up. A kernel
 * without IPv6, or a link with an MTU too small for it, has nothing to set.
 */

/**
 * A link that has addresses of IPv6. They are made from what we handed out, so nobody is asked whether they are taken.
 *
 * @throws UnavailableError where /proc/sys is read-only
 */
export function believeNoRouter(link: string, netns: LinkPlace): void {
  setAll(link, bornSilent(netns) ? { disable_ipv6: 0 } : noRouters, netns);
}

/**
 * A link of a network with IPv4 only, as Docker has it.
 *
 * @throws UnavailableError where /proc/sys is read-only
 */
export function switchIpv6Off(link: string, netns: LinkPlace): void {
  if (!bornSilent(netns)) setAll(link, ipv6Off, netns);
}

/**
 * For links that will be made in the calling thread's namespace.
 *
 * @throws UnavailableError where /proc/sys is read-only
 */
export function silenceNewLinks(): void {
  setAll('default', { ...noRouters, ...ipv6Off }, undefined);
}

/** Where a link is. */
type LinkPlace = (NetnsReference & { readonly newLinksAreSilent?: boolean }) | undefined;

const noRouters = { accept_ra: 0, accept_dad: 0 };
const ipv6Off = { disable_ipv6: 1 };

function bornSilent(netns: LinkPlace): boolean {
  return netns?.newLinksAreSilent ?? false;
}

function setAll(link: string, values: Readonly<Record<string, number>>, netns: NetnsReference | undefined): void {
  insideReference(netns, () => {
    for (const [name, value] of Object.entries(values)) setIfThere(`/proc/sys/net/ipv6/conf/${link}/${name}`, value);
  });
}

function setIfThere(path: string, value: number): void {
  try {
    fileCall(path, () => holdBriefly(() => writeFileSync(path, String(value))));
  } catch (error) {
    if (hasCode(error, 'EROFS'))
      throw new UnavailableError(
        'a network whose members do not believe each other to be routers',
        `${path} cannot be written: /proc/sys is read-only here`,
        'Mount /proc writable for this process, as a privileged container has it',
      );
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
