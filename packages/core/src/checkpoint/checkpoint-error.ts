import { NsError } from '@ns/libc';

/**
 * CRIU gave up. Codes `ERR_NS_CHECKPOINT_FAILED`: the container goes on as before, and nothing was kept;
 * `ERR_NS_RESTORE_FAILED`: no process was left, and the checkpoint is as it was.
 */
export class CheckpointError extends NsError {
  /** All that CRIU wrote into its log. */
  readonly log: string;

  constructor(code: 'ERR_NS_CHECKPOINT_FAILED' | 'ERR_NS_RESTORE_FAILED', what: string, log: string, cause?: unknown) {
    super(code, `${what}${excerpt(log)}`, { hint: hintFor(log), cause });
    this.log = log;
  }
}

/** What went wrong, of the thousands of lines that tell what went well. */
function excerpt(log: string): string {
  const lines = log.split('\n').filter((line) => /\bError\b/.test(line) && !preliminary.test(line));
  return lines.length === 0 ? ': CRIU wrote no reason into its log' : `:\n${lines.slice(-6).join('\n')}`;
}

// What the kernel lacks, CRIU notes as an error at each start, and does without.
const preliminary = /criu\/tun\.c|RLIMIT_NOFILE/;

function hintFor(log: string): string {
  return (
    hints.find(([pattern]) => pattern.test(log))?.[1] ??
    'Look into the log of this error, and what criu check says of this kernel'
  );
}

const hints: readonly (readonly [RegExp, string])[] = [
  [/tcp-established|Connected TCP socket/, 'Give tcpEstablished: true for connections inside the container'],
  [/--file-locks|[Ff]ile locks/, 'Give fileLocks: true for locks that its processes hold'],
  [/External socket|Unix socket \d+ not found|external network namespace/, 'A socket leads out of the container'],
  [/Can't open file .* on restore|bad size|bad mode|build-ID/, 'A file below the container is not what it was'],
  [/No space left on device/, 'Make room in the directory of the checkpoint'],
];
