import { NsError } from '@ns/libc';

/** A cgroup of that name exists already. Code `ERR_NS_CGROUP_EXISTS`. */
export class CgroupExistsError extends NsError {
  /** Directory that was in the way. */
  readonly path: string;

  constructor(path: string) {
    super('ERR_NS_CGROUP_EXISTS', `cgroup ${path} exists already`, {
      hint: 'Choose another name, take it with Cgroup.open, or remove what a crash left behind with prune()',
    });
    this.path = path;
  }
}

/** The cgroup was removed, by us or by somebody else. Code `ERR_NS_CGROUP_GONE`. */
export class CgroupGoneError extends NsError {
  readonly path: string;

  constructor(path: string, doing: string, cause?: unknown) {
    super('ERR_NS_CGROUP_GONE', `${doing}: there is no cgroup ${path}, or not any more`, {
      hint: 'Create it; if it was there, somebody removed it, likely with what was in it',
      cause,
    });
    this.path = path;
  }
}

/** The object was closed; the cgroup may be there still. Code `ERR_NS_CGROUP_CLOSED`. */
export class CgroupClosedError extends NsError {
  readonly path: string;

  constructor(path: string) {
    super('ERR_NS_CGROUP_CLOSED', `the object for cgroup ${path} was closed`, {
      hint: 'Take hold of the cgroup again with Cgroup.open',
    });
    this.path = path;
  }
}

/**
 * The cgroup cannot be changed or removed because of what is in it: processes that do not die, child cgroups made by
 * others, or processes where cgroup v2 allows only children. Code `ERR_NS_CGROUP_BUSY`.
 */
export class CgroupBusyError extends NsError {
  readonly path: string;

  constructor(path: string, why: string, options: { hint: string; cause?: unknown }) {
    super('ERR_NS_CGROUP_BUSY', `cgroup ${path} is busy: ${why}`, options);
    this.path = path;
  }
}
