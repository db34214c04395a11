import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const traces = {
  sent: ['sendmsg,sendto', 'write'],
  received: ['recvmsg,recvfrom', 'read'],
};

/** Runs a command under strace: hex of each datagram it sent or received. Sequence number and port are zeroed: programs take the first from the clock. */
export function tracedMessages(command, direction = 'sent', { mayFail = false } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'golden-'));
  const file = join(directory, 'trace');
  const [calls, bytes] = traces[direction];
  try {
    run(`strace -qq -e trace=${calls} -e ${bytes}=all -o ${file} ${command}${mayFail ? ' 2>/dev/null || :' : ''}`);
    const messages = [];
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      if (/^ \* \d+ bytes in buffer|^send|^recv/.test(line)) messages.push('');
      else if (line.startsWith(' | ')) messages.push(messages.pop() + line.slice(10, 60).replaceAll(' ', ''));
    }
    return messages.filter((hex) => hex !== '').map((hex) => hex.slice(0, 16) + '0'.repeat(16) + hex.slice(32));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Runs a command of the shell. */
export function run(command) {
  execFileSync('/bin/sh', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'] });
}
