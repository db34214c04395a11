import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { addressOf, check, cString, SYS, syscall } from '@ns/libc';

/** Things of the host that a sandbox looks for. Whoever finds them may use them. */
export interface Baits {
  /** Name of a listening socket that is in no file system, with its leading and trailing zero bytes. */
  readonly abstractSocket: string;
  /** A listening socket, in a directory of the host that sandboxes see. */
  readonly socket: string;
  /** A named pipe that is being read. */
  readonly pipe: string;
  /** Description of a key in the session keyring of this process. */
  readonly sessionKey: string;
  /** Description of a key in the keyring of its user. */
  readonly userKey: string;
}

/** {@link Baits} that lie there until they are disposed of. */
export interface LaidBaits extends Baits, Disposable {}

/** Lays the baits. This thread, and what it starts, has a session keyring of its own from then on. */
export async function layBaits(): Promise<LaidBaits> {
  const name = `ns-bait-${process.pid}`;
  // Nothing of a sandbox's defaults hides it.
  const directory = mkdtempSync(join('/var/tmp', `${name}-`));
  chmodSync(directory, 0o755);
  const [socket, pipe] = [join(directory, 'socket'), join(directory, 'pipe')];
  // libuv binds to the whole length of an address.
  const abstractSocket = `\0${name}`.padEnd(108, '\0');
  const servers = [socket, abstractSocket].map((address) => createServer((client) => client.end()).listen(address));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  chmodSync(socket, 0o777);
  execFileSync('mkfifo', ['-m', '666', pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const shared = join('/dev/shm', name);
  writeFileSync(shared, 'of the host', { mode: 0o666 });
  keyctl(JOIN_SESSION_KEYRING, cString(name).address);
  const [sessionKey, userKey] = [`${name}-session`, `${name}-user`];
  const keys = [
    [addKey(sessionKey, SESSION_KEYRING), SESSION_KEYRING],
    [addKey(userKey, USER_KEYRING), USER_KEYRING],
  ] as const;
  return {
    abstractSocket,
    socket,
    pipe,
    sessionKey,
    userKey,
    [Symbol.dispose]() {
      for (const [key, keyring] of keys) keyctl(UNLINK, key, keyring);
      for (const server of servers) server.close();
      closeSync(reader);
      rmSync(shared);
      rmSync(directory, { recursive: true });
    },
  };
}

function addKey(description: string, keyring: number): number {
  const secret = Buffer.from('secret');
  const [type, name] = [cString('user'), cString(description)];
  return check('add_key', syscall(SYS.add_key, type.address, name.address, addressOf(secret), secret.length, keyring));
}

function keyctl(operation: number, argument: number, keyring = 0): void {
  check('keyctl', syscall(SYS.keyctl, operation, argument, keyring, 0, 0));
}

// <linux/keyctl.h>
const [JOIN_SESSION_KEYRING, UNLINK] = [1, 9];
const [SESSION_KEYRING, USER_KEYRING] = [-3, -4];
