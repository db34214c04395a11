/* Whatever many callers wait for at once, such as the next turn of the event loop, they all hear of in one turn, and what they do
   then is done in one: a start takes a fraction of a millisecond, 64 of them would keep a server from answering for as many. */

const waiting: (() => void)[] = [];

/** Settles in a turn of the event loop in which nobody else's does; what is ready meanwhile gets its turn in between. */
export function ownTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(next);
  });
}

function next(): void {
  waiting.shift()!();
  // Made by an immediate, one waits for the next turn.
  if (waiting.length > 0) setImmediate(next);
}
