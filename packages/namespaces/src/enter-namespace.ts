import { isAsyncFunction, isGeneratorFunction } from 'node:util/types';
import { type NamespaceKind, namespaceFlags } from '@ns/launch';
import { abortProcess, NsError, SpecError, SYS, syscall } from '@ns/libc';
import { NotEnterableError } from './errors.ts';
import { checkAction } from './hints.ts';
import { openCurrent } from './open-namespace.ts';

const notEnterable: Partial<Record<NamespaceKind, string>> = {
  user: 'the kernel lets only processes with one thread change their user namespace',
  mnt: 'its threads share one root and working directory, which setns would have to change',
  pid: 'only children would be in it, not the caller',
  time: 'the kernel lets only processes with one thread change their time namespace',
};

/**
 * Runs a function while the calling thread is in another namespace, and brings the thread back in all cases.
 *
 * @throws NotEnterableError for the kinds that Node cannot enter
 */
export function enterNamespace<T>(kind: NamespaceKind, fd: number, fn: () => T): T {
  const why = notEnterable[kind];
  if (why) throw new NotEnterableError(kind, why);
  if (typeof fn !== 'function') throw new SpecError('fn', 'a function', fn);
  // What a generator does it does later, when this thread is at home again.
  if (isAsyncFunction(fn) || isGeneratorFunction(fn)) throw asynchronous();
  using home = openCurrent(kind);
  checkAction('setns', 'setns', syscall(SYS.setns, fd, namespaceFlags[kind]), {
    doing: `entering a ${kind} namespace`,
  });
  try {
    return refusePromise(fn());
  } finally {
    if (syscall(SYS.setns, home.fd, namespaceFlags[kind]) < 0) die();
  }
}

/** In another namespace, whatever this thread did next would be done to the wrong one: no error could be handled there. */
function die(): never {
  abortProcess();
  throw new NsError('ERR_NS_RESTORE_FAILED', 'the thread could not return to its own namespace', {
    hint: 'End the process: whatever this thread does next is done to the wrong namespace',
  });
}

function refusePromise<T>(result: T): T {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return result;
  // It is refused here, so nobody else will handle its rejection.
  Promise.resolve(result).catch(() => {});
  throw asynchronous();
}

function asynchronous(): NsError {
  return new NsError('ERR_NS_ASYNC_CALLBACK', 'the function for enter() is asynchronous', {
    hint: 'The thread is in the namespace only until the function returns; make sockets or read files synchronously in it, and wait outside',
  });
}
