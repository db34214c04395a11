/* Callers that wait for the next turn of the event loop are all told in the same one, and go on in it one after the other: a
   start takes a fraction of a millisecond, 64 of them keep a server from answering for 64 times as long. */

/**
 * What somebody wants a turn for. What is called on things that are there keeps its order, and does not wait until a crowd
 * of new ones is made, or one of old ones cleared up after.
 */
export type TurnKind = 'call' | 'making' | 'clearing up';

/** Who waits, with the kind first whose turn it is. */
const waiting = new Map<TurnKind, (() => void)[]>();

/**
 * Settles in a turn of the event loop in which nobody else's does; what is ready meanwhile gets its turn in between. Those
 * of one kind come one after the other, and kinds take turns.
 */
export function ownTurn(kind: TurnKind = 'call'): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.size === 0) setImmediate(next);
    const others = waiting.get(kind);
    if (others) others.push(resolve);
    else waiting.set(kind, [resolve]);
  });
}

function next(): void {
  const [kind, callers] = waiting.entries().next().value!;
  callers.shift()!();
  waiting.delete(kind);
  if (callers.length > 0) waiting.set(kind, callers);
  // Made by an immediate, one waits for the next turn.
  if (waiting.size > 0) setImmediate(next);
}
