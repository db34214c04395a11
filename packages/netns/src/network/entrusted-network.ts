import { join } from 'node:path';
import { networkRemoval } from '../firewall/firewall.ts';
import { unusedTableRemovals } from '../firewall/tables.ts';
import { claimPaths } from '../ipam/subnet-claims.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import { type Entrust, Entrusted, linkRemoval, transactionMessage } from '../remains.ts';
import { draftOf } from '../state-directory.ts';
import { firewallNetwork } from './network-plan.ts';
import { networkPolicyRemovals } from './network-policies.ts';
import type { NetworkRecord } from './network-state.ts';

/** What of a network goes when this process is killed. */
export class EntrustedNetwork implements Disposable {
  readonly #state: Entrusted;
  readonly #kernel: Entrusted;
  readonly #root: string;

  constructor(entrust: Entrust, root: string) {
    this.#state = new Entrusted(entrust);
    this.#kernel = new Entrusted(entrust);
    this.#root = root;
  }

  /** It has a directory, which may be in use for another of that name. */
  isNamed(name: string): void {
    this.#state.is({ parents: [this.#directory(name)] });
  }

  /** The name is its own. */
  isPlanned(name: string): void {
    const claims = claimPaths(name, this.#root);
    const pools = join(this.#root, 'ipam', name);
    this.#state.is({
      files: [...claims.map(draftOf), ...claims],
      directories: [this.#directory(name), join(pools, 'inet'), join(pools, 'inet6')],
      parents: [pools],
    });
  }

  /** It is made as this record says. Its policy holds until nothing can be sent any more. */
  isMade(record: NetworkRecord, netns: NetnsReference | undefined): void {
    // Messages are for the namespace of whoever sends them.
    if (netns !== undefined) return;
    const transactions = [networkRemoval(firewallNetwork(record)), ...networkPolicyRemovals(record)];
    this.#kernel.is({
      requests: [linkRemoval(record.bridge), ...transactions.map(transactionMessage)],
      // Its containers come after it, and with their ports the tables are in use.
      lastRequests: unusedTableRemovals().map(({ requests }) => transactionMessage(requests)),
    });
  }

  /** It is in the kernel no longer: before its subnets can be another's. */
  isUnmade(): void {
    this.#kernel[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.isUnmade();
    this.#state[Symbol.dispose]();
  }

  #directory(name: string): string {
    return join(this.#root, 'networks', name);
  }
}
