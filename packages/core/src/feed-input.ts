import { finished } from 'node:stream';
import type { StandardStreams } from '@ns/launch';
import { TerminalStreams } from './terminal-streams.ts';
import type { ContainerSpec } from './types.ts';

/**
 * Connects stdin to what was given; without anything it is closed unless somebody took it by the end of this turn.
 *
 * @param failed - called when it ends before its time: what the process got is not what it was to get
 */
export function feedInput(
  streams: StandardStreams,
  stdin: ContainerSpec['stdin'],
  failed: (error: unknown) => void,
): void {
  if (stdin === 'pipe') return;
  if (stdin === 'null') {
    if (streams instanceof TerminalStreams) streams.stdin.end();
    return;
  }
  if (stdin === undefined) {
    queueMicrotask(() => streams.closeUnusedStdin());
    return;
  }
  const pipe = streams.stdin;
  if (!pipe) return;
  if (typeof stdin === 'string' || Buffer.isBuffer(stdin)) pipe.end(stdin);
  else {
    finished(stdin, { writable: false }, (error) => error && !pipe.destroyed && failed(error));
    stdin.pipe(pipe);
  }
}
