import type { TarMember } from './tar-reader.ts';

interface Place {
  /** Of a directory that is only on the way to others there is none. */
  member?: TarMember;
  emptied?: boolean;
  below?: Map<string, Place>;
}

/**
 * What is to be remembered of the directories of an archive, by where they are: one that is removed is forgotten with all below
 * it, however many others there are. A search through all, at each whiteout, would let an archive of a megabyte take minutes.
 */
export class UnpackedDirectories {
  readonly #root: Place = {};

  /** What a member before has said of it counts no more. */
  add(member: TarMember): void {
    this.#place(member.path).member = member;
  }

  /** What the archive has not put there is gone. @returns false when it was before */
  markEmptied(path: string): boolean {
    const place = this.#place(path);
    if (place.emptied) return false;
    place.emptied = true;
    return true;
  }

  /** Forgets a directory and all below it. */
  remove(path: string): void {
    const names = path.split('/');
    const last = names.pop()!;
    let place: Place | undefined = this.#root;
    for (const name of names) place = place?.below?.get(name);
    place?.below?.delete(last);
  }

  /** Members of all that are left, each before that of the directory it is in. */
  *childrenFirst(): Generator<TarMember, void, undefined> {
    // By depth.
    const places = [this.#root];
    for (const { below } of places) for (const place of below?.values() ?? []) places.push(place);
    for (const { member } of places.reverse()) if (member) yield member;
  }

  #place(path: string): Place {
    let place = this.#root;
    for (const name of path === '' ? [] : path.split('/')) {
      place.below ??= new Map();
      const next: Place = place.below.get(name) ?? {};
      place.below.set(name, next);
      place = next;
    }
    return place;
  }
}
