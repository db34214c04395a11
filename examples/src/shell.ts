// An interactive shell in a sandbox, like `docker run -it`: history, Ctrl-C, window size; exit restores the terminal.
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

const { exitCode } = await shell;
stdin.setRawMode?.(false);
stdin.unref();
stdout.off('resize', resize);
process.exitCode = exitCode ?? 1;
