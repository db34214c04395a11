import { AsyncResource } from 'node:async_hooks';
import { createSocket } from 'node:dgram';
import { AF, O, SOCK } from './constants.ts';
import { check } from './errors.ts';
import { syscall } from './libc.ts';
import { ResourceStack } from './resource-stack.ts';
import { SYS } from './syscalls.ts';

/* Node offers no handle for a descriptor that is no file, stream or UDP socket; koffi has one. But that calls its callback
   whatever state the thread is in, also when a worker is being terminated and no JavaScript may run any more, and a call into
   that ends the whole process with an abort. A handle of Node's own knows, and is closed with its thread. So it is a UDP
   socket, and once Node has taken it, its number is given to what is to be watched. When that is readable, libuv's recvmsg()
   fails with ENOTSOCK, Node emits an error, and libuv goes on waiting: the error is the news. */

/** A registration with the event loop of this thread. */
export interface FdWatch extends Disposable {
  /** Idempotent. */
  close(): void;
  /** It keeps the event loop alive; it does at first. */
  ref(): void;
  unref(): void;
}

/** A descriptor with a handle of its own. */
export interface LoopHandle extends FdWatch {
  /** A duplicate of the descriptor, which the loop owns: gone with the handle, or with the thread. */
  readonly fd: number;
}

/** Callbacks must not run in the asynchronous context of whoever happened to be the first to watch something. */
const nobody = new AsyncResource('NsLoopHandle');

/**
 * Calls back in the event loop of this thread whenever a descriptor is readable, with a handle of its own: for descriptors
 * at which looking changes something, such as an epoll set with a PSI trigger. The set that `watchFd` shares among all
 * would look twice.
 *
 * @param fd - stays the caller's, who may close it at once
 * @throws SyscallError `EMFILE`; `EAFNOSUPPORT` where AF_INET sockets are forbidden (systemd's RestrictAddressFamilies=)
 */
export function watchFdAlone(fd: number, callback: () => void): LoopHandle {
  return nobody.runInAsyncScope(() => {
    using rollback = new ResourceStack();
    const socket = createSocket('udp4').on('error', callback);
    rollback.defer(() => socket.close());
    const doing = 'making a handle of the event loop';
    const placeholder = check('socket', syscall(SYS.socket, AF.INET, SOCK.DGRAM | SOCK.CLOEXEC), { doing });
    // Exclusive: a worker of node:cluster would ask its primary for it.
    socket.bind({ fd: placeholder, exclusive: true });
    // The loop looks at the number when it next waits, and not before.
    check('dup3', syscall(SYS.dup3, fd, placeholder, O.CLOEXEC), { doing });
    rollback.release();
    let open = true;
    const close = () => {
      if (open) socket.close();
      open = false;
    };
    return {
      fd: placeholder,
      close,
      ref: () => void (open && socket.ref()),
      unref: () => void (open && socket.unref()),
      [Symbol.dispose]: close,
    };
  });
}
