import { randomInt } from 'node:crypto';
import { linkPayload, NetlinkError, RTM } from '@ns/netlink';
import { type NetnsReference, openSocket } from '../namespace-reference.ts';
import { groupRequest, remove } from './change.ts';

interface Removal {
  readonly name: string;
  settle(): void;
  fail(reason: unknown): void;
}

/**
 * Removes links of a namespace, one request at a time; those that are to go meanwhile go together, as a group. For each
 * request the kernel waits for grace periods of RCU, tens of milliseconds in which nobody else changes anything of its
 * network, and a thread of libuv's pool, of which there are four, waits with it.
 */
export class LinkRemover {
  readonly #netns: NetnsReference | undefined;
  readonly #removals: Removal[] = [];
  #removing = false;

  constructor(netns: NetnsReference | undefined) {
    this.#netns = netns;
  }

  /** Settles when there is no such link. */
  remove(name: string): Promise<void> {
    return new Promise((settle, fail) => {
      this.#removals.push({ name, settle, fail });
      if (!this.#removing) void this.#removeAll();
    });
  }

  async #removeAll(): Promise<void> {
    this.#removing = true;
    while (this.#removals.length > 0) {
      const together = this.#removals.splice(0);
      try {
        await removeTogether(
          together.map(({ name }) => name),
          this.#netns,
        );
        for (const { settle } of together) settle();
      } catch (error) {
        for (const { fail } of together) fail(error);
      }
    }
    this.#removing = false;
  }
}

async function removeTogether(names: readonly string[], netns: NetnsReference | undefined): Promise<void> {
  if (names.length === 1) return remove(names[0]!, { netns, ifMissing: 'ignore' });
  using socket = openSocket(netns);
  // One that nobody uses. Every link is in group 0 until somebody says otherwise.
  const group = randomInt(1, 2 ** 31);
  for (const error of socket.batch(names.map((name) => groupRequest(name, group)))) failUnlessMissing(error);
  await socket
    .requestInBackground({
      type: RTM.DELLINK,
      payload: linkPayload().encode({ index: 0, attributes: { group } }),
      doing: `remove links ${names.join(', ')}`,
    })
    .catch(failUnlessMissing);
}

function failUnlessMissing(error: unknown): void {
  if (error !== undefined && !(error instanceof NetlinkError && error.code === 'ENODEV')) throw error;
}
