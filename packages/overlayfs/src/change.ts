import type { Stat } from '@ns/libc';
import { type FileType, fileType, permissions } from './file-type.ts';

/** What a path is, or was. */
export interface FileSummary {
  readonly type: FileType;
  /** Bytes; of a link, the length of its target; 0 for a directory. */
  readonly size: number;
  /** Permissions with setuid, setgid and sticky: 0o644. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Milliseconds since 1970, with fraction. */
  readonly mtimeMs: number;
}

/** A path that is new, or not what it was. */
export interface PresentChange extends FileSummary {
  readonly kind: 'added' | 'modified';
  /** Absolute, from the root of the tree. */
  readonly path: string;
  /** What it was; of a `modified` path where the layers below were given. */
  readonly before?: FileSummary;
}

/** A path that is no more, with everything below it. */
export interface DeletedChange extends Partial<FileSummary> {
  readonly kind: 'deleted';
  readonly path: string;
}

/** One difference between two trees. A deleted directory is one change; an added one is one change per path. */
export type Change = PresentChange | DeletedChange;

/** The part of stat(2) a change shows. */
export function summarize(stat: Stat): FileSummary {
  const type = fileType(stat.mode);
  return {
    type,
    size: type === 'directory' ? 0 : stat.size,
    mode: permissions(stat),
    uid: stat.uid,
    gid: stat.gid,
    mtimeMs: stat.mtimeSec * 1000 + stat.mtimeNsec / 1e6,
  };
}
