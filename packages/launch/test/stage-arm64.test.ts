import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { ERRNO } from '@ns/libc';
import { needs } from '@ns/testing';
import { stages } from '../src/generated/stage.ts';
import { Assembler, Label } from '../src/program.ts';
import { decodeRecord } from '../src/records.ts';

/* The aarch64 stage under qemu's user mode: everything but namespaces and mounts, which it passes to this kernel anyway. */

const emulator = 'qemu-aarch64-static';
const missing = (() => {
  try {
    execFileSync(emulator, ['--version']);
    return undefined;
  } catch {
    return `no ${emulator}`;
  }
})();

/** Runs a program on the emulated stage: the program is descriptor 3, the status socket 4, as launch() arranges it. */
async function runProgram(write: (asm: Assembler) => void) {
  const asm = new Assembler({ arch: 'arm64' });
  write(asm);
  const scratch = mkdtempSync(join(tmpdir(), 'stage-arm64-'));
  const [stageFile, programFile] = [join(scratch, 'stage'), join(scratch, 'program')];
  writeFileSync(stageFile, Buffer.from(stages.arm64.base64, 'base64'), { mode: 0o755 });
  writeFileSync(programFile, asm.finish(4).bytes);
  const program = openSync(programFile, 'r');
  try {
    const child = spawn(emulator, [stageFile], { stdio: ['ignore', 'pipe', 'pipe', program, 'pipe'], env: {} });
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const [stdout, stderr, status, code] = await Promise.all([
      text(child.stdout!),
      text(child.stderr!),
      buffer(child.stdio[4] as Socket),
      exited,
    ]);
    return { stdout, stderr, code, record: decodeRecord(status) };
  } finally {
    closeSync(program);
    rmSync(scratch, { recursive: true });
  }
}

const arm64Test = needs(missing);

arm64Test('writes, and exits with a code', async () => {
  const outcome = await runProgram((asm) => {
    asm.call('write', [1, asm.string('hello from aarch64\n'), 19]);
    asm.call('exit_group', [7]);
  });
  expect(outcome).toEqual({ stdout: 'hello from aarch64\n', stderr: '', code: 7, record: undefined });
});

arm64Test('results are stored and read again, in 8 bytes and in 4', async () => {
  const { code } = await runProgram((asm) => {
    const [length, wide] = [asm.slot(), asm.slot(-1)];
    asm.call('write', [1, asm.string('abc'), 3], { store: length });
    // The upper half of the -1 stays.
    asm.call('write', [1, asm.string('ab'), 2], { store32: wide.address });
    const wrong = new Label();
    asm.jumpIfUnequal(length, 3, wrong);
    asm.jumpIfUnequal(wide, 0xffffffff_00000002n, wrong);
    asm.call('exit_group', [length]);
    asm.place(wrong);
    asm.call('exit_group', [99]);
  });
  expect(code).toBe(3);
});

arm64Test('jumps and sums: a loop that counts', async () => {
  const { stdout, code } = await runProgram((asm) => {
    const line = asm.bytes(8);
    const counter = asm.slot();
    const again = new Label();
    asm.place(again);
    asm.add(counter, counter, 1);
    asm.decimal(line, counter);
    asm.call('write', [1, line, 1]);
    asm.jumpIfUnequal(counter, 5, again);
    // Below zero, and by an address that a slot holds.
    const [place, copied] = [asm.slot(counter.address), asm.slot()];
    asm.add(counter, counter, -6);
    asm.copy(copied.address, place, 8);
    const right = new Label();
    asm.jumpIfEqual(copied, -1, right);
    asm.call('exit_group', [99]);
    asm.place(right);
    asm.call('exit_group', [0]);
  });
  expect({ stdout, code }).toEqual({ stdout: '12345', code: 0 });
});

arm64Test('decimals of every length', async () => {
  const values = [0n, 9n, 10n, 12_345n, 4_294_967_296n, 9_999_999_999_999_999_999n, 18_446_744_073_709_551_615n];
  const { stdout } = await runProgram((asm) => {
    for (const value of values) {
      const digits = asm.bytes(24);
      asm.decimal(digits, value);
      asm.call('write', [1, digits, String(value).length + 1]);
    }
    asm.call('exit_group', [0]);
  });
  expect(stdout).toBe(values.map((value) => `${value}\0`).join(''));
});

arm64Test('copies memory', async () => {
  const { stdout } = await runProgram((asm) => {
    const to = asm.bytes(16);
    asm.copy(to, asm.string('copied text'), 11);
    asm.copy(to + 7, asm.string('here'), 4);
    asm.call('write', [1, to, 11]);
    asm.call('exit_group', [0]);
  });
  expect(stdout).toBe('copied here');
});

arm64Test('an error that is tolerated goes to its label, with the negated errno as result', async () => {
  const { code } = await runProgram((asm) => {
    const [result, absent, wrong] = [asm.slot(), new Label(), new Label()];
    asm.call('chdir', [asm.string('/no/such/place')], {
      store: result,
      tolerate: ['EACCES', 'ENOENT'],
      otherwise: absent,
    });
    asm.place(wrong);
    asm.call('exit_group', [1]);
    asm.place(absent);
    asm.jumpIfUnequal(result, -ERRNO.ENOENT, wrong);
    asm.call('exit_group', [0]);
  });
  expect(code).toBe(0);
});

arm64Test('an error that is not tolerated is reported with its instruction', async () => {
  const { code, record } = await runProgram((asm) => {
    asm.call('getpid', []);
    asm.call('chdir', [asm.string('/no/such/place')], { tolerate: ['EACCES'] });
  });
  expect({ code, record }).toEqual({
    code: 125,
    record: { kind: 'failure', index: 1, value: ERRNO.ENOENT, usage: undefined },
  });
});

arm64Test('a failure of our own is reported the same way', async () => {
  const { code, record } = await runProgram((asm) => asm.fail('EXDEV'));
  expect({ code, record }).toMatchObject({ code: 125, record: { kind: 'failure', index: 0, value: ERRNO.EXDEV } });
});

arm64Test('goes on with another program, given by descriptor', async () => {
  const other = new Assembler({ arch: 'arm64' });
  other.call('write', [1, other.string('the other'), 9]);
  other.call('chdir', [other.string('/no/such/place')]);
  const { bytes } = other.finish(4);
  const { stdout, record } = await runProgram((asm) => {
    const fd = asm.slot();
    asm.call('memfd_create', [asm.string('other'), 0], { store: fd });
    asm.call('write', [fd, asm.bytes(bytes), bytes.length]);
    asm.program(fd);
  });
  expect({ stdout, record }).toMatchObject({
    stdout: 'the other',
    record: { kind: 'failure', index: 1, value: ERRNO.ENOENT },
  });
});

arm64Test('it forks, waits and executes', async () => {
  const { code } = await runProgram((asm) => {
    const [pid, status, child] = [asm.slot(), asm.slot(), new Label()];
    // clone(2) with SIGCHLD alone is fork; qemu's user mode has no clone3.
    asm.call('clone', [17, 0, 0, 0, 0], { store: pid });
    asm.jumpIfEqual(pid, 0, child);
    asm.call('wait4', [pid, status.address, 0, 0]);
    const code = asm.slot();
    asm.copy(code.address, status.address + 1, 1);
    asm.call('exit_group', [code]);
    asm.place(child);
    asm.call('exit_group', [42]);
  });
  expect(code).toBe(42);
});

arm64Test('a child that goes on elsewhere, on a stack below: vfork', async () => {
  const { stdout, code } = await runProgram((asm) => {
    const [pid, status, code, child] = [asm.slot(), asm.slot(), asm.slot(), new Label()];
    // CLONE_VM | CLONE_VFORK | SIGCHLD, of which qemu's user mode makes a fork.
    asm.vfork('clone', [0x4100 + 17, 0, 0], child, pid);
    asm.call('wait4', [pid, status.address, 0, 0]);
    asm.call('write', [1, asm.string('parent'), 6]);
    asm.copy(code.address, status.address + 1, 1);
    asm.call('exit_group', [code]);
    asm.place(child);
    asm.call('write', [1, asm.string('child '), 6]);
    asm.call('exit_group', [42]);
  });
  expect({ stdout, code }).toEqual({ stdout: 'child parent', code: 42 });
});
