import type { Readable } from 'node:stream';
import type { OutputChunk } from './output.ts';

const HIGH_WATER_MARK = 1024 * 1024;

/**
 * Chunks of both streams in the order they came; the streams pause while the consumer is behind. When he leaves early,
 * they flow on: to the result, and so that the command is not held up.
 */
export async function* mergeStreams(
  stdout: Readable,
  stderr: Readable,
  left: AbortSignal,
): AsyncGenerator<OutputChunk, void, undefined> {
  const queue: OutputChunk[] = [];
  let queued = 0;
  let wake = () => {};
  const sources = [
    [1, stdout],
    [2, stderr],
  ] as const;
  const listeners = sources.map(([fd, stream]) => {
    const onData = (chunk: Buffer | string) => {
      // Text where the caller has asked for it with setEncoding.
      const data = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      queue.push({ fd, data });
      queued += data.length;
      if (queued > HIGH_WATER_MARK) stream.pause();
      wake();
    };
    const onClose = () => wake();
    stream.on('data', onData).on('close', onClose).on('error', onClose);
    return () => stream.off('data', onData).off('close', onClose);
  });
  left.addEventListener('abort', () => wake(), { once: true });
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk) {
        queued -= chunk.data.length;
        if (queued <= HIGH_WATER_MARK) for (const [, stream] of sources) stream.resume();
        yield chunk;
      } else if (left.aborted || sources.every(([, stream]) => stream.closed)) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    for (const stopListening of listeners) stopListening();
    for (const [, stream] of sources) stream.resume();
  }
}
