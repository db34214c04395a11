import { SpecError } from '@ns/libc';
import { addressNumber } from '../ipam/subnet.ts';

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;

/**
 * A name as it is looked up: lower case, without the dot at the end.
 *
 * @throws SpecError when it cannot be a host name
 */
export function canonicalName(name: string, field = 'name'): string {
  const lower = String(name).toLowerCase().replace(/\.$/, '');
  if (lower.length > 253 || !lower.split('.').every((label) => LABEL.test(label)))
    throw new SpecError(field, 'a host name', name);
  return lower;
}

/** Names of a network's containers, both ways. A name may have several owners: an alias that many share. */
export class NameTable {
  readonly #entries = new Map<string, { owner: string; address: string }[]>();

  /** Gives a name to an address of an owner. */
  add(owner: string, name: string, address: string): void {
    addressNumber(address);
    const key = canonicalName(name);
    const entries = this.#entries.get(key) ?? [];
    if (!entries.some((entry) => entry.owner === owner && entry.address === address))
      this.#entries.set(key, [...entries, { owner, address }]);
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
  }

  /** Forgets everything of an owner. */
  remove(owner: string): void {
    for (const [name, entries] of this.#entries) {
      const others = entries.filter((entry) => entry.owner !== owner);
      if (others.length === 0) this.#entries.delete(name);
      else this.#entries.set(name, others);
    }
  }

  /** Does the table know this name, of whatever version of address? */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Addresses of a name, of one version. */
  addresses(name: string, family: 'inet' | 'inet6'): string[] {
    const found = (this.#entries.get(name) ?? []).map((entry) => entry.address);
    return [...new Set(found)].filter((address) => address.includes(':') === (family === 'inet6'));
  }

  /** Names of an address given as `2.1.88.10.in-addr.arpa` or `….ip6.arpa`. */
  reverse(pointer: string): string[] {
    const address = pointerAddress(pointer);
    if (address === undefined) return [];
    return [...this.#entries]
      .filter(([, entries]) =>
        entries.some(
          (entry) => addressNumber(entry.address) === address.number && entry.address.includes(':') === address.six,
        ),
      )
      .map(([name]) => name);
  }
}

function pointerAddress(pointer: string): { number: bigint; six: boolean } | undefined {
  const four = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(pointer);
  if (four)
    return {
      number: four[1]!
        .split('.')
        .slice(0, 4)
        .reverse()
        .reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n),
      six: false,
    };
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(pointer);
  if (six) return { number: BigInt(`0x${six[1]!.split('.').slice(0, 32).reverse().join('')}`), six: true };
  return undefined;
}
