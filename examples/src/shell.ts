// An interactive shell in a sandbox, like `docker run -it`: history, Ctrl-C, window size; exit restores the terminal.
import { constants } from 'node:os';
import { run } from '@ns/core';

const { stdin, stdout } = process;
const shell = run('/bin/bash', ['-i'], {
  tty: true,
  stdin: 'pipe',
  hostname: 'sandbox',
  env: { TERM: process.env.TERM ?? 'xterm', PS1: '\\u@\\h:\\w\\$ ' },
  buffer: false,
});
const resize = () => shell.resize({ columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 });
shell.stdout.pipe(stdout);
stdin.pipe(shell.stdin);
stdin.setRawMode?.(true);
stdout.on('resize', resize);
resize();
// Of the signals that end it, Node.js restores the terminal at SIGINT and SIGTERM by itself.
process.once('SIGHUP', () => shell.kill('SIGKILL'));

const { exitCode, signal } = await shell;
stdin.setRawMode?.(false);
stdin.unref?.();
stdout.off('resize', resize);
process.exitCode = exitCode ?? 128 + constants.signals[signal!];
