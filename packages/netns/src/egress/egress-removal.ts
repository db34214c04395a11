import {
  chainPayload,
  type NetlinkRequest,
  type NetlinkSocket,
  NLM_F,
  nftablesBatch,
  nftablesType,
  rulesPayload,
  setPayload,
} from '@ns/netlink';
import { TABLE } from '../firewall/ruleset.ts';
import { attempt, familyNumbers, finds, keyElement, removalRequest, removeEach } from '../firewall/set-elements.ts';
import { chainNames, openedSets } from './egress-ruleset.ts';
import type { EgressScope } from './egress-scope.ts';

/*
 * A policy comes by nft, which may put it in force after whoever started it has died. So there is a chain of it before, and what
 * nft does takes that chain for granted: whoever removes it, and then the policy, leaves nothing that comes later.
 */

const family = familyNumbers.inet;

/** Makes the chain that a policy begins with. Idempotent. */
export function beginPolicy(socket: NetlinkSocket, scope: EgressScope): void {
  socket.transaction(nftablesBatch([chainRequest('NEWCHAIN', scope, chainNames(scope).refuse, NLM_F.CREATE)]));
}

/** Transactions that one after another take a policy off, as much of it as there is, also while nft puts it in force. */
export function policyRemovals(scope: EgressScope): NetlinkRequest[][] {
  const whole = wholeRemoval(scope);
  return [whole, [chainRequest('DELCHAIN', scope, chainNames(scope).refuse)], whole];
}

/** nft has put it there as a whole. */
export function wholeRemoval(scope: EgressScope): NetlinkRequest[] {
  const doing = `remove the egress policy of ${scope.label}`;
  // In this order nothing leads to what is removed.
  const chains = Object.values(chainNames(scope));
  return [
    ...scope.keys.flatMap(({ forward, input, key }) =>
      [forward, input].map((set) => removalRequest({ set, elements: [keyElement(key)], doing })),
    ),
    ...chains.map((chain) => ({
      type: nftablesType('DELRULE'),
      payload: rulesPayload.encode({ family, attributes: { table: TABLE, chain } }),
      doing,
    })),
    ...chains.map((chain) => chainRequest('DELCHAIN', scope, chain)),
    ...openedSets(scope).map(({ name }) => ({
      type: nftablesType('DELSET'),
      payload: setPayload.encode({ family, attributes: { table: TABLE, name } }),
      doing,
    })),
  ];
}

/** Takes a policy off, whether it is there or not. */
export function removePolicy(socket: NetlinkSocket, scope: EgressScope): void {
  for (const requests of policyRemovals(scope)) {
    // What the kernel refuses takes it milliseconds.
    if (!hasPolicy(socket, scope)) return;
    attempt(socket, requests);
  }
  // Somebody has removed a part of it by hand.
  if (hasPolicy(socket, scope)) removeEach(socket, wholeRemoval(scope));
}

/** Is there anything of a policy? */
export function hasPolicy(socket: NetlinkSocket, scope: EgressScope): boolean {
  return finds(socket, chainRequest('GETCHAIN', scope, chainNames(scope).refuse));
}

const verbs = { NEWCHAIN: 'begin', GETCHAIN: 'look for', DELCHAIN: 'remove' } as const;

function chainRequest(message: keyof typeof verbs, scope: EgressScope, name: string, flags = 0): NetlinkRequest {
  return {
    type: nftablesType(message),
    flags,
    payload: chainPayload.encode({ family, attributes: { table: TABLE, name } }),
    doing: `${verbs[message]} the egress policy of ${scope.label}`,
  };
}
