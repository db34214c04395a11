/** How much of a thing each of several clients has: of what there is for all, no more than one's share. */
export class ClientShares {
  readonly #each: number;
  readonly #all: number;
  readonly #taken = new Map<string, number>();
  #total = 0;

  constructor({ each, all }: { readonly each: number; readonly all: number }) {
    this.#each = each;
    this.#all = all;
  }

  /** False: the client has its share, or all is taken. */
  take(client: string): boolean {
    const has = this.#taken.get(client) ?? 0;
    if (has >= this.#each || this.#total >= this.#all) return false;
    this.#taken.set(client, has + 1);
    this.#total++;
    return true;
  }

  /** Once for each {@link take} that was granted. */
  giveBack(client: string): void {
    const has = this.#taken.get(client)!;
    if (has === 1) this.#taken.delete(client);
    else this.#taken.set(client, has - 1);
    this.#total--;
  }
}
