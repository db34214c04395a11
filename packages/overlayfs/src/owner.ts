/** Ids of a file's owner. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whether it is one: chown(2) takes 4294967295 as "leave it" and cuts off what is more, so that 4294967296 would be root. */
export function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1;
}
