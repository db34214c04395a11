import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { availableActions, compile, installFilter } from '@ns/seccomp';
import { needs, notRoot } from '@ns/testing';
import { buildSync } from 'esbuild';

const real = needs(notRoot);
const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a module in a Node process of its own, because a filter cannot be taken off again; the result is what it prints as JSON. */
function inNewProcess(source: string): unknown {
  const directory = mkdtempSync(join(tmpdir(), 'ns-seccomp-'));
  try {
    symlinkSync(join(repository, 'node_modules'), join(directory, 'node_modules'));
    const entry = join(directory, 'entry.ts');
    writeFileSync(entry, source);
    const outfile = join(directory, 'entry.mjs');
    buildSync({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['koffi'],
      conditions: ['@ns/source'],
    });
    return JSON.parse(String(execFileSync(process.execPath, [outfile], { timeout: 20_000 })));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const attempt = `
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { SYS, syscall } from '@ns/libc';
import { compile, installFilter, SECCOMP_FILTER_FLAG } from '@ns/seccomp';
const filter = compile({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['getpgid'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }] });
const denied = () => syscall(SYS.getpgid!, 0) === -13;
const status = () => Object.fromEntries(readFileSync('/proc/thread-self/status', 'utf8').split('\\n').map((line) => line.split(/:\\s*/)));
`;

real('a filter is on the calling thread alone, and on its children', () => {
  const result = inNewProcess(`${attempt}
    if (isMainThread) {
      new Worker(new URL(import.meta.url)).on('message', (worker) => console.log(JSON.stringify({ worker, main: denied() })));
    } else {
      const listener = installFilter(filter);
      const child = execFileSync('/usr/bin/python3', ['-c', 'import os\\ntry: os.getpgid(0)\\nexcept OSError as e: print(e.errno)']);
      parentPort!.postMessage({ denied: denied(), child: String(child).trim(), listener: listener === undefined, ...(({ Seccomp, NoNewPrivs }) => ({ Seccomp, NoNewPrivs }))(status()) });
    }`);
  expect(result).toEqual({
    worker: { denied: true, child: '13', listener: true, Seccomp: '2', NoNewPrivs: '1' },
    main: false,
  });
});

real('TSYNC takes all threads; a listener is returned when asked for', () => {
  const result = inNewProcess(`${attempt}
    if (isMainThread) {
      const worker = new Worker(new URL(import.meta.url));
      worker.once('message', () => {
        installFilter(filter, { flags: SECCOMP_FILTER_FLAG.TSYNC });
        const listener = installFilter(compile({ defaultAction: 'SCMP_ACT_ALLOW' }), { flags: SECCOMP_FILTER_FLAG.NEW_LISTENER, noNewPrivileges: 'keep' });
        worker.once('message', (inWorker) => {
          console.log(JSON.stringify({ main: denied(), inWorker, listener: listener!.fd > 2 }));
          process.exit();
        });
        worker.postMessage('look');
      });
    } else {
      parentPort!.on('message', () => parentPort!.postMessage(denied()));
      parentPort!.postMessage('ready');
    }`);
  expect(result).toEqual({ main: true, inWorker: true, listener: true });
});

test('what is no program is refused before the kernel sees it', () => {
  for (const filter of [Buffer.alloc(0), Buffer.alloc(9), Buffer.alloc(4097 * 8)]) {
    expect(() => installFilter(filter)).toThrow(
      expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field: 'filter' }),
    );
  }
});

real('a program the kernel refuses is an error with the call and what was asked', () => {
  const broken = Buffer.from(compile({ defaultAction: 'SCMP_ACT_ALLOW' }));
  broken.writeUInt16LE(0xffff, 0);
  expect(() => installFilter(broken, { noNewPrivileges: 'keep' })).toThrow(
    expect.objectContaining({
      code: 'EINVAL',
      syscall: 'seccomp',
      args: { flags: 0, instructions: broken.length / 8 },
    }),
  );
});

real('the kernel says which actions it knows', () => {
  expect(availableActions()).toEqual(expect.arrayContaining(['errno', 'allow', 'kill_process']));
});
