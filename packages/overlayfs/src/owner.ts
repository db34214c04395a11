/** Ids of a file's owner. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}
