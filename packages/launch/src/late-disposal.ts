/* Closing a descriptor takes some microseconds, and of those that are left at an end nobody waits for it. */

const due: Disposable[] = [];

/** Disposes of something in the next turn of the event loop: those who wait for what happened in this one have heard of it. */
export function disposeLater(...resources: readonly Disposable[]): void {
  // An immediate of an event is still part of its turn.
  if (due.length === 0) setImmediate(() => setImmediate(disposeDue));
  due.push(...resources);
}

function disposeDue(): void {
  for (const resource of due.splice(0)) resource[Symbol.dispose]();
}
