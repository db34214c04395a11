import { NsError } from '@ns/libc';

/** No address is free in a pool. Code `ERR_NS_ADDRESS_POOL_EXHAUSTED`. */
export class AddressPoolExhaustedError extends NsError {
  constructor(pool: string, range: string) {
    super('ERR_NS_ADDRESS_POOL_EXHAUSTED', `no address is free in ${range} of network '${pool}'`, {
      hint: 'Remove containers of the network, prune leases a crash left, or use a larger subnet',
    });
  }
}

/** The wanted address is taken. Code `ERR_NS_ADDRESS_IN_USE`. */
export class AddressInUseError extends NsError {
  /** Who has it. */
  readonly owner: string;

  constructor(address: string, owner: string) {
    super('ERR_NS_ADDRESS_IN_USE', `address ${address} belongs to ${owner.slice(0, 12)}`, {
      hint: 'Give another one, or none for a free one',
    });
    this.owner = owner;
  }
}

/** A wanted subnet has addresses in common with one in use. Code `ERR_NS_SUBNET_OVERLAP`. */
export class SubnetOverlapError extends NsError {
  constructor(wanted: string, taken: string, by: string) {
    super('ERR_NS_SUBNET_OVERLAP', `subnet ${wanted} overlaps ${taken} of ${by}`, {
      hint: 'Choose another subnet, or leave it out to be given a free one',
    });
  }
}

/** Every subnet of the default pools is taken. Code `ERR_NS_NO_FREE_SUBNET`. */
export class NoFreeSubnetError extends NsError {
  constructor(pools: readonly string[]) {
    super(
      'ERR_NS_NO_FREE_SUBNET',
      `every subnet of ${pools.join(', ')} is in use by a network or a route of this host`,
      {
        hint: 'Remove networks that are not used, or name a subnet',
      },
    );
  }
}

/** A port of the host that is to be published is taken. Code `ERR_NS_PORT_IN_USE`. */
export class PortInUseError extends NsError {
  /** Ids of containers that have it, as far as they are known. */
  readonly owners: readonly string[];

  constructor(what: string, by: string, owners: readonly string[] = []) {
    super('ERR_NS_PORT_IN_USE', `${what} is in use by ${by}`, {
      hint: 'Choose another port of the host, or 0 to be given a free one',
    });
    this.owners = owners;
  }
}

/** A name server that is not of this library has the address at which a network's names are served. Code `ERR_NS_NAME_SERVER_TAKEN`. */
export class NameServerTakenError extends NsError {
  constructor(network: string, addresses: readonly string[], cause: unknown) {
    super(
      'ERR_NS_NAME_SERVER_TAKEN',
      `another program answers at port 53 of ${addresses.join(' and ')}, where network '${network}' serves its names`,
      {
        hint: "Likely it listens on all addresses of the host: let it listen on its own (dnsmasq: bind-dynamic with interface=…; ss -lnup 'sport = 53' shows which it is)",
        cause,
      },
    );
  }
}

/** nft refused a ruleset. Code `ERR_NS_NFT_FAILED`. */
export class NftError extends NsError {
  /** What nft wrote. */
  readonly stderr: string;

  constructor(doing: string, stderr: string, options: { cause?: unknown; hint?: string | undefined } = {}) {
    super('ERR_NS_NFT_FAILED', `${doing}: nft says "${stderr.trim().split('\n')[0] ?? ''}"`, {
      ...options,
      hint: options.hint ?? 'It needs CAP_NET_ADMIN and a kernel with nftables; stderr has all that nft said',
    });
    this.stderr = stderr;
  }
}

/** There is a network of this name. Code `ERR_NS_NETWORK_EXISTS`. */
export class NetworkExistsError extends NsError {
  constructor(name: string) {
    super('ERR_NS_NETWORK_EXISTS', `network '${name}' exists already`, { hint: 'Open it, or choose another name' });
  }
}

/** Containers are on a network of this name whose state was lost. Code `ERR_NS_NETWORK_EXISTS`. */
export class LostNetworkError extends NsError {
  constructor(name: string, bridge: string) {
    super('ERR_NS_NETWORK_EXISTS', `network '${name}' exists, with containers on it, but its state was lost`, {
      hint: `End what is connected to ${bridge}, or choose another name`,
    });
  }
}

/** There is no network of this name. Code `ERR_NS_NETWORK_NOT_FOUND`. */
export class NetworkNotFoundError extends NsError {
  constructor(name: string) {
    super('ERR_NS_NETWORK_NOT_FOUND', `there is no network '${name}'`, {
      hint: 'Create it; list() has those there are',
    });
  }
}
