import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { exampleFile, notBuilt } from './own-network.ts';

/* The interactive shell at a real terminal, which tmux plays. */

const program = exampleFile('shell');

/** A terminal of 100 by 30 in which a command runs. */
class Terminal implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'example-shell-'));

  constructor(command: string) {
    this.#tmux('-f', '/dev/null', 'new-session', '-d', '-x', '100', '-y', '30', command);
  }

  /** Types text, or presses keys by tmux's names for them. */
  type(text: string, ...keys: string[]): void {
    if (text !== '') this.#tmux('send-keys', '-l', text);
    if (keys.length > 0) this.#tmux('send-keys', ...keys);
  }

  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** Waits until the screen looks so. */
  async shows(pattern: RegExp): Promise<void> {
    let screen = '';
    for (const until = Date.now() + 30_000; Date.now() < until; await delay(50)) {
      screen = this.#tmux('capture-pane', '-p');
      if (pattern.test(screen)) return;
    }
    expect(screen).toMatch(pattern);
  }

  /** The program that the shell in it runs is told that the terminal is gone. */
  hangUp(): void {
    const shell = this.#tmux('list-panes', '-F', '#{pane_pid}').trim();
    const child = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8');
    process.kill(Number.parseInt(child, 10), 'SIGHUP');
  }

  [Symbol.dispose](): void {
    try {
      this.#tmux('kill-server');
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }

  #tmux(...args: string[]): string {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, TMUX, ...env } = process.env;
    return execFileSync('tmux', args, {
      encoding: 'utf8',
      env: { ...env, TERM: 'xterm', LANG: 'C.UTF-8', TMUX_TMPDIR: this.#directory, NS_STATE_ROOT: this.#directory },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

function noTmux(): string | undefined {
  try {
    execFileSync('tmux', ['-V']);
    return undefined;
  } catch {
    return 'tmux is not installed';
  }
}

needs(notRoot ?? notBuilt(program) ?? noTmux())(
  'whoever ends it, the terminal is restored, and the exit status says how',
  async () => {
    // A shell that waits for it restores a terminal by itself: dash does not.
    const start = `trap : HUP; before=$(stty -g); ${process.execPath} ${program}; echo "ended with $?"`;
    for (const end of [
      (terminal: Terminal) => terminal.type('kill -KILL $$', 'Enter'),
      (terminal: Terminal) => terminal.hangUp(),
    ]) {
      using terminal = new Terminal(`dash -c '${start}; [ "$before" = "$(stty -g)" ] && echo restored; exec cat'`);
      await terminal.shows(/^root@sandbox:\/#/m);
      end(terminal);
      await terminal.shows(/ended with 137\nrestored$/m);
    }
  },
  120_000,
);

needs(notRoot ?? notBuilt(program))('without a terminal it reads what there is, and ends with that', () => {
  for (const [input, status] of [
    ['</dev/null', 0],
    ['<<< "exit 3"', 3],
  ] as const)
    expect(spawnSync('bash', ['-c', `${process.execPath} ${program} ${input}`], { timeout: 30_000 }).status).toBe(
      status,
    );
});

needs(notRoot ?? notBuilt(program) ?? noTmux())(
  'history, Ctrl-C, window size; exit restores the terminal',
  async () => {
    const compared = '[ "$before" = "$(stty -g)" ] && echo restored';
    using terminal = new Terminal(
      `before=$(stty -g); ${process.execPath} ${program}; echo "ended with $?"; ${compared}; exec cat`,
    );
    await terminal.shows(/^root@sandbox:\/#/m);
    terminal.type('echo "sum $((1 + 1))"', 'Enter');
    await terminal.shows(/^sum 2$/m);
    // History, and what it gives can be edited.
    terminal.type('', 'Up', 'Home');
    terminal.type('command ', 'End');
    terminal.type(' again', 'Enter');
    await terminal.shows(/^sum 2 again$/m);
    terminal.type('tty; sleep 1000', 'Enter');
    await terminal.shows(/^\/dev\/pts\/0$/m);
    terminal.type('', 'C-c');
    terminal.type('echo "code $?"', 'Enter');
    await terminal.shows(/^code 130$/m);
    terminal.type('stty size', 'Enter');
    await terminal.shows(/^30 100$/m);
    terminal.resize(80, 20);
    // Asked until it has arrived: the new size travels beside what is typed.
    terminal.type('until [ "$(stty size)" = "20 80" ]; do sleep 0.05; done; echo "now $(stty size)"', 'Enter');
    await terminal.shows(/^now 20 80$/m);
    terminal.type('exit 3', 'Enter');
    await terminal.shows(/^ended with 3\nrestored$/m);
    // Typed to cat, which has the terminal now: echoed once by it and once by cat.
    terminal.type('typed', 'Enter');
    await terminal.shows(/^typed\ntyped$/m);
  },
  120_000,
);
