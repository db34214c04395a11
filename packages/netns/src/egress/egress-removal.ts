import { type NetlinkRequest, type NetlinkSocket, NLM_F, nftablesBatch } from '@ns/netlink';
import { keyElement, removalRequest } from '../firewall/set-elements.ts';
import { chainRequest, rulesRemoval, setRemoval } from '../firewall/table-requests.ts';
import { attempt, finds, removeEach } from '../firewall/transactions.ts';
import { chainNames, openedSets } from './egress-ruleset.ts';
import type { EgressScope } from './egress-scope.ts';

/*
 * A policy comes by nft, which may put it in force after whoever started it has died. So there is a chain of it before, and what
 * nft does takes that chain for granted: whoever removes it, and then the policy, leaves nothing that comes later.
 */

/** Makes the chain that a policy begins with. Idempotent. */
export function beginPolicy(socket: NetlinkSocket, scope: EgressScope): void {
  socket.transaction(nftablesBatch([refusal('NEWCHAIN', scope, NLM_F.CREATE)]));
}

/** Transactions that one after another take a policy off, as much of it as there is, also while nft puts it in force. */
export function policyRemovals(scope: EgressScope): NetlinkRequest[][] {
  const whole = wholeRemoval(scope);
  return [whole, [refusal('DELCHAIN', scope)], whole];
}

/** nft has put it there as a whole. */
export function wholeRemoval(scope: EgressScope): NetlinkRequest[] {
  const context = contextOf('remove', scope);
  const { doing } = context;
  // In this order nothing leads to what is removed.
  const chains = Object.values(chainNames(scope));
  return [
    ...scope.keys.flatMap(({ forward, input, key }) =>
      [forward, input].map((set) => removalRequest({ set, elements: [keyElement(key)], doing })),
    ),
    ...chains.map((chain) => rulesRemoval({ chain }, context)),
    ...chains.map((chain) => chainRequest('DELCHAIN', chain, context)),
    ...openedSets(scope).map(({ name }) => setRemoval(name, context)),
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
  return finds(socket, refusal('GETCHAIN', scope));
}

const verbs = { NEWCHAIN: 'begin', GETCHAIN: 'look for', DELCHAIN: 'remove' } as const;

/** The chain that a policy begins with. */
function refusal(message: keyof typeof verbs, scope: EgressScope, flags = 0): NetlinkRequest {
  return chainRequest(message, chainNames(scope).refuse, { ...contextOf(verbs[message], scope), flags });
}

function contextOf(verb: string, { label }: EgressScope) {
  return { family: 'inet', doing: `${verb} the egress policy of ${label}` } as const;
}
