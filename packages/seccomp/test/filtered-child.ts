import { type ChildProcess, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { type OwnedFd, receive, socketPair, watchFd } from '@ns/libc';
import { SECCOMP_FILTER_FLAG } from '@ns/seccomp';

// Installs the filter given in hex, sends the listener over descriptor 3 when there is one, and runs the script.
const RUN = `
import array, ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def sc(nr, *args):
    "result, or the name of the errno"
    result = libc.syscall(ctypes.c_long(nr), *[a if isinstance(a, bytes) else ctypes.c_ulong(a & (2**64 - 1)) for a in args])
    return result if result != -1 else errno.errorcode[ctypes.get_errno()]
code = bytes.fromhex(sys.argv[1])
flags = int(sys.argv[2])
script = compile(sys.argv[3], 'script', 'exec')
buffer = ctypes.create_string_buffer(code, len(code))
program = (len(code) // 8).to_bytes(8, 'little') + ctypes.addressof(buffer).to_bytes(8, 'little')
assert libc.prctl(38, 1, 0, 0, 0) == 0
channel = socket.socket(fileno=3)
listener = sc(317, 1, flags, program)
assert isinstance(listener, int), listener
if flags & ${SECCOMP_FILTER_FLAG.NEW_LISTENER}:
    channel.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [listener]))])
    os.close(listener)
exec(script)
`;

const SOCK_SEQPACKET = 5;

export interface FilteredChild {
  readonly process: ChildProcess;
  /** The notification descriptor, when the filter notifies. */
  readonly listener: Promise<OwnedFd>;
  /** What the script printed, as JSON, and how it ended. */
  readonly result: Promise<{ output: unknown; code: number | null; signal: NodeJS.Signals | null; stderr: string }>;
}

/** Runs a Python script under a filter. In it `sc(nr, ...)` makes a system call and returns its result or its errno's name. */
export function runFiltered(filter: Uint8Array & { flags: number; notifies: boolean }, script: string): FilteredChild {
  const [ours, theirs] = socketPair(SOCK_SEQPACKET);
  const flags = filter.flags | (filter.notifies ? SECCOMP_FILTER_FLAG.NEW_LISTENER : 0);
  const child = spawn('/usr/bin/python3', ['-c', RUN, Buffer.from(filter).toString('hex'), String(flags), script], {
    stdio: ['ignore', 'pipe', 'pipe', theirs.fd],
  });
  theirs.close();
  const listener = new Promise<OwnedFd>((resolve, reject) => {
    const watch = watchFd(ours.fd, { readable: true }, () => {
      const message = receive(ours.fd, 16, 1);
      if (!message) return;
      watch.close();
      ours.close();
      const [fd] = message.fds;
      if (fd) resolve(fd);
      else reject(new Error('the child ended without a listener'));
    });
  });
  listener.catch(() => undefined);
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.on('close', (...how) => resolve(how)),
  );
  const output = Promise.all([text(child.stdout!), text(child.stderr!), ended]);
  const result = output.then(([stdout, stderr, [code, signal]]) => ({
    output: stdout === '' ? undefined : JSON.parse(stdout),
    code,
    signal,
    stderr,
  }));
  return { process: child, listener, result };
}

/** Why there is no such child, or `undefined`. */
export const notThisMachine: string | undefined =
  process.arch === 'x64' ? undefined : 'the child script holds numbers of x86_64';
