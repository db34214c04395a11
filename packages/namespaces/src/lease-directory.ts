import { mkdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  check,
  fileCall,
  isAlive,
  O,
  OwnedFd,
  open,
  openAt,
  type ProcessIdentity,
  readDirectory,
  renameAt,
  S,
  SpecError,
  statFd,
  tryLock,
  unlinkAt,
  write,
} from '@ns/libc';
import { IdAllocationError } from './errors.ts';
import type { IdInterval } from './free-range.ts';

/** What is on disk for a range that was handed out. */
export interface LeaseRecord {
  readonly uids: IdInterval;
  readonly gids: IdInterval;
  readonly owner: ProcessIdentity;
  /** The lease whose ids these are, of which there may be more. Default: its own. */
  readonly sharedFrom?: string;
}

const LOCK_RETRY_MS = 3;

/** A directory of lease files, locked for as long as it is open: flock(2) of its file `lock`, which the kernel lets go at our death. */
export class LeaseDirectory implements Disposable {
  readonly #directory: OwnedFd;
  readonly #lock: OwnedFd;
  readonly #path: string;

  private constructor(path: string, directory: OwnedFd, lock: OwnedFd) {
    this.#path = path;
    this.#directory = directory;
    this.#lock = lock;
  }

  /**
   * @throws SpecError when the directory could be written by others
   * @throws IdAllocationError `ERR_NS_LEASE_BUSY`
   */
  static async open(path: string, timeoutMs: number): Promise<LeaseDirectory> {
    const directory = openPrivate(path);
    let lock: OwnedFd | undefined;
    try {
      lock = new OwnedFd(
        check('openat', openAt(directory.fd, 'lock', O.RDWR | O.CREAT | O.NOFOLLOW, 0o600), { path: `${path}/lock` }),
      );
      await takeLock(lock, path, timeoutMs);
      return new LeaseDirectory(path, directory, lock);
    } catch (error) {
      lock?.close();
      directory.close();
      throw error;
    }
  }

  /** The leases by name. Those whose owner is gone are removed and not among them. */
  read(): Map<string, LeaseRecord> {
    const leases = new Map<string, LeaseRecord>();
    // A descriptor of its own, because reading moves its position.
    using listing = open('.', O.RDONLY | O.DIRECTORY, { dirFd: this.#directory.fd });
    for (const { name } of readDirectory(listing.fd)) {
      if (name.endsWith('.tmp')) this.remove(name);
      if (!name.endsWith(SUFFIX)) continue;
      const record = this.#readRecord(name);
      if (isAlive(record.owner)) leases.set(name, record);
      else this.remove(name);
    }
    return leases;
  }

  /** Writes a lease as a whole or not at all. */
  write(name: string, record: LeaseRecord): void {
    const temporary = `${name}.tmp`;
    {
      const flags = O.WRONLY | O.CREAT | O.TRUNC | O.NOFOLLOW;
      using file = new OwnedFd(
        check('openat', openAt(this.#directory.fd, temporary, flags, 0o600), { path: `${this.#path}/${temporary}` }),
      );
      write(file.fd, Buffer.from(JSON.stringify(record)));
    }
    check('renameat2', renameAt(this.#directory.fd, temporary, this.#directory.fd, name), {
      path: `${this.#path}/${name}`,
    });
  }

  /** Returns whether it was there. */
  remove(name: string): boolean {
    return unlinkAt(this.#directory.fd, name) === 0;
  }

  #readRecord(name: string): LeaseRecord {
    using file = new OwnedFd(
      check('openat', openAt(this.#directory.fd, name, O.RDONLY | O.NOFOLLOW), { path: `${this.#path}/${name}` }),
    );
    const record = parseRecord(readFileSync(file.fd, 'utf8'));
    if (record) return record;
    // Its range is unknown, so no range is known to be free.
    throw new IdAllocationError('ERR_NS_LEASE_CORRUPT', `${this.#path}/${name} is no lease`, {
      hint: 'Remove the file when no container with a range of its own is running',
    });
  }

  [Symbol.dispose](): void {
    this.#lock.close();
    this.#directory.close();
  }
}

const SUFFIX = '.lease';

/** The name of a lease's file. */
export function leaseName(id: string): string {
  if (/^[0-9A-Za-z][0-9A-Za-z_.-]{0,127}$/.test(id)) return id + SUFFIX;
  throw new SpecError('id', 'up to 128 letters, digits, ".", "_" and "-"', id);
}

function openPrivate(path: string): OwnedFd {
  if (typeof path !== 'string' || !path.startsWith('/')) throw new SpecError('stateDir', 'an absolute path', path);
  fileCall(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
  const directory = open(path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  const { uid, mode } = statFd(directory.fd);
  if (uid === process.geteuid!() && (mode & 0o022) === 0 && (mode & S.IFMT) === S.IFDIR) return directory;
  directory.close();
  throw new SpecError('stateDir', 'a directory that belongs to this user and that nobody else can write', path);
}

async function takeLock(lock: OwnedFd, path: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    // Without waiting in the kernel: a holder that was stopped would stop our event loop.
    if (tryLock(lock.fd)) return;
    if (performance.now() > deadline) {
      throw new IdAllocationError('ERR_NS_LEASE_BUSY', `${path}/lock was not free within ${timeoutMs} ms`, {
        hint: 'Likely a process that holds it is stopped; fuser shows which',
      });
    }
    await sleep(LOCK_RETRY_MS);
  }
}

function parseRecord(text: string): LeaseRecord | undefined {
  try {
    const { uids, gids, owner, sharedFrom } = JSON.parse(text) as LeaseRecord;
    const numbers = [uids.start, uids.size, gids.start, gids.size, owner.pid, owner.startTime];
    if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) return undefined;
    return { uids, gids, owner, ...(typeof sharedFrom === 'string' && { sharedFrom }) };
  } catch {
    return undefined;
  }
}
