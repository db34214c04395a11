/* Closing a descriptor takes some microseconds, and of those that are left at an end nobody waits for it. */

const due: Disposable[] = [];

/** Disposes of something when those who wait for what happened in this turn of the event loop have heard of it. */
export function disposeLater(...resources: readonly Disposable[]): void {
  if (due.length === 0) setImmediate(disposeDue);
  due.push(...resources);
}

function disposeDue(): void {
  for (const resource of due.splice(0)) resource[Symbol.dispose]();
}
