import { ERRNO, SpecError, SYS } from '@ns/libc';
import fc from 'fast-check';
import { Assembler, Label, Slot } from '../src/program.ts';

const BASE = 0x10000000;

/** One instruction as stage/stage.c declares it. */
interface Instruction {
  readonly op: number;
  readonly indirect: number;
  readonly narrow: number;
  readonly tolerate: readonly [number, number];
  readonly target: number;
  readonly result: number;
  readonly args: readonly bigint[];
}

function assembled(write: (asm: Assembler) => void, statusFd = 4) {
  const asm = new Assembler({ arch: 'x64' });
  write(asm);
  const { bytes, stepOf } = asm.finish(statusFd);
  const code = bytes.readUInt32LE(0);
  const instructions: Instruction[] = [];
  for (let at = code; at < bytes.length; at += 64) {
    instructions.push({
      op: bytes.readUInt16LE(at),
      indirect: bytes.readUInt8(at + 2),
      narrow: bytes.readUInt8(at + 3),
      tolerate: [bytes.readUInt16LE(at + 4), bytes.readUInt16LE(at + 6)],
      target: bytes.readUInt16LE(at + 8),
      result: bytes.readUInt32LE(at + 12),
      args: [0, 1, 2, 3, 4, 5].map((i) => bytes.readBigUInt64LE(at + 16 + 8 * i)),
    });
  }
  return { bytes, stepOf, code, instructions };
}

/** Bytes at an address of a program. */
const at = (bytes: Buffer, address: number, length: number) => bytes.subarray(address - BASE, address - BASE + length);

test('golden bytes: a header, a string, one call that stores its result', () => {
  const { bytes } = assembled((asm) => {
    const path = asm.string('/x');
    const fd = asm.slot();
    asm.call('openat', [-100, path, 0x80000], { store: fd, tolerate: ['ENOENT', 'EACCES'] });
  });
  // biome-ignore format: one field a line
  expect(bytes.toString('hex', 0, 24)).toBe([
    '18000000', //                 code begins at 0x18
    '04000000', //                 status socket
    '2f78000000000000', //         "/x"
    '0000000000000000', //         the slot
  ].join(''));
  // biome-ignore format: one field a line
  expect(bytes.toString('hex', 24)).toBe([
    '0101', //                     op: openat is 257
    '00', '00', //                 no indirect argument, result of 8 bytes
    '0200', '0d00', //             ENOENT, EACCES
    '0100', '0000', //             then the next instruction
    '10000010', //                 result to the slot
    '9cffffffffffffff', //         AT_FDCWD
    '0800001000000000', //         the string
    '0000080000000000', //         O_CLOEXEC
    '0000000000000000', '0000000000000000', '0000000000000000',
  ].join(''));
});

test('data is aligned to words, and code too', () => {
  const { code } = assembled((asm) => {
    expect(asm.bytes(1) % 8).toBe(0);
    expect(asm.bytes(13) % 8).toBe(0);
    expect(asm.string('abcdefgh') % 8).toBe(0);
    asm.call('getpid', []);
  });
  expect(code % 8).toBe(0);
});

test('negative numbers, large numbers and bigints are words in two complement', () => {
  const { instructions } = assembled((asm) => {
    asm.call('getpid', [-1, -100, 0xffffffff, 2 ** 33, -(2 ** 33), Number.MAX_SAFE_INTEGER]);
    asm.call('getpid', [-1n, 0xffffffffffffffffn, 1n << 63n, 0n]);
  });
  expect(instructions[0]!.args).toEqual([
    0xffffffffffffffffn,
    0xffffffffffffff9cn,
    0xffffffffn,
    0x200000000n,
    0xfffffffe00000000n,
    0x1fffffffffffffn,
  ]);
  expect(instructions[1]!.args.slice(0, 4)).toEqual([0xffffffffffffffffn, 0xffffffffffffffffn, 1n << 63n, 0n]);
});

test('every safe integer becomes the word that BigInt makes of it', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const { instructions } = assembled((asm) => asm.call('getpid', [value]));
      expect(instructions[0]!.args[0]).toBe(BigInt.asUintN(64, BigInt(value)));
    }),
  );
});

test.each([Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 60])(
  '%p is no operand: it would become another number',
  (value) => {
    expect(() => assembled((asm) => asm.call('setresuid', [value]))).toThrow(SpecError);
  },
);

test('a slot as operand is read when its turn comes', () => {
  const { instructions } = assembled((asm) => {
    const slot = asm.slot();
    asm.call('dup3', [slot, 5, slot]);
    asm.jumpIfEqual(slot, 0, placed(asm));
  });
  expect(instructions[0]).toMatchObject({ indirect: 0b101, args: [0x10000008n, 5n, 0x10000008n, 0n, 0n, 0n] });
  expect(instructions[1]).toMatchObject({
    op: 0xfff0,
    indirect: 0b001,
    args: [0x10000008n, 0xffffffffffffffffn, 0n, 0n, 0n, 0n],
  });
});

function placed(asm: Assembler): Label {
  const label = new Label();
  asm.place(label);
  return label;
}

test('jumps go forward and back, and to the end', () => {
  const { instructions } = assembled((asm) => {
    const [back, forward, end] = [new Label(), new Label(), new Label()];
    asm.call('getpid', []);
    asm.place(back);
    asm.call('getppid', [], { tolerate: 'any', otherwise: forward });
    asm.jumpIfUnequal(1, 2, back, 0xff);
    asm.place(forward);
    asm.jump(end);
    asm.place(end);
  });
  expect(instructions.map(({ target }) => target)).toEqual([1, 3, 1, 4]);
  expect(instructions[1]!.tolerate).toEqual([0xffff, 0]);
  expect(instructions[2]).toMatchObject({ op: 0xfff1, args: [1n, 0xffn, 2n, 0n, 0n, 0n] });
});

test('a narrow store goes into a field of a struct', () => {
  const { instructions } = assembled((asm) => asm.call('getpid', [], { store32: asm.bytes(16) + 4 }));
  expect(instructions[0]).toMatchObject({ narrow: 1, result: BASE + 8 + 4 });
});

test('pseudo instructions', () => {
  const { instructions } = assembled((asm) => {
    const [to, from] = [asm.bytes(24), asm.slot()];
    asm.copy(to, from.address, 8);
    asm.decimal(to, from);
    asm.fail('EXDEV');
    asm.program(5);
    asm.add(from, from, -1);
  });
  expect(instructions.map(({ op }) => op)).toEqual([0xfff2, 0xfff3, 0xfff4, 0xfff5, 0xfff6]);
  expect(instructions[4]).toMatchObject({
    indirect: 0b010,
    args: [BigInt(BASE + 32), BigInt(BASE + 32), 2n ** 64n - 1n, 0n, 0n, 0n],
  });
  expect(instructions[2]!.args[0]).toBe(BigInt(ERRNO.EXDEV));
});

test('equal strings are stored once, arrays end with NULL', () => {
  let addresses: number[] = [];
  const { bytes } = assembled((asm) => {
    addresses = [asm.string('same'), asm.string('same'), asm.string('other'), asm.strings(['same', 'other'])];
  });
  const [first, second, other, array] = addresses as [number, number, number, number];
  expect(second).toBe(first);
  expect(at(bytes, array, 24).toString('hex')).toBe(
    [first, other, 0].map((word) => Buffer.from(BigUint64Array.of(BigInt(word)).buffer).toString('hex')).join(''),
  );
  expect(at(bytes, other, 6).toString('latin1')).toBe('other\0');
});

test('text that is not ASCII is UTF-8, and an empty string has an address', () => {
  let [euro, empty] = [0, 0];
  const { bytes } = assembled((asm) => {
    [euro, empty] = [asm.string('€'), asm.string('')];
  });
  expect(at(bytes, euro, 4).toString('hex')).toBe('e282ac00');
  expect(at(bytes, empty, 1)[0]).toBe(0);
});

test('a NUL in a string is refused: the kernel would see only what stands before it', () => {
  expect(() => new Assembler().string('a\0b')).toThrow(SpecError);
});

test('data, code and steps grow over thousands of instructions', () => {
  const count = 20_000;
  const { bytes, instructions, stepOf } = assembled((asm) => {
    for (let i = 0; i < count; i++) {
      asm.beginStep(i >> 4);
      asm.call('close', [asm.string(`string ${i}`)]);
    }
  });
  expect(instructions).toHaveLength(count);
  for (const i of [0, 1, 255, 256, 257, 4095, 4096, count - 1]) {
    expect(stepOf[i]).toBe(i >> 4);
    expect(instructions[i]!.op).toBe(3);
    expect(at(bytes, Number(instructions[i]!.args[0]), 20).toString().split('\0')[0]).toBe(`string ${i}`);
  }
});

test('more instructions than a jump can name are refused', () => {
  const asm = new Assembler();
  for (let i = 0; i < 0xffff; i++) asm.call('getpid', []);
  expect(() => asm.call('getpid', [])).toThrow(/at most 65535/);
});

test('more data than the stage maps is refused', () => {
  const asm = new Assembler();
  asm.bytes(64 * 1024 * 1024);
  expect(() => asm.finish(4)).toThrow(SpecError);
});

test('a jump to nowhere, an unknown call and an unknown errno are refused', () => {
  const asm = new Assembler({ arch: 'arm64' });
  expect(() => asm.call('open', [])).toThrow(/system call of this architecture/);
  expect(() => asm.call('close', [], { tolerate: ['ENOSUCH'] })).toThrow(SpecError);
  expect(() => asm.fail('ENOSUCH')).toThrow(SpecError);
  asm.jump(new Label());
  expect(() => asm.finish(4)).toThrow(/a label that was placed/);
});

test('numbers of the architecture asked for', () => {
  const asm = new Assembler({ arch: 'arm64' });
  asm.call('openat', []);
  const { bytes } = asm.finish(4);
  expect(bytes.readUInt16LE(bytes.readUInt32LE(0))).toBe(56);
  if (process.arch === 'x64') expect(SYS.openat).toBe(257);
});

test('a trace tells each instruction in readable form', () => {
  const asm = new Assembler({ trace: true });
  const slot = asm.slot();
  asm.call('chdir', [asm.string('/tmp')], { store: slot });
  asm.jump(placed(asm));
  const { trace, strings } = asm.finish(4);
  expect(trace!.map(({ name }) => name)).toEqual(['chdir', 'jumpEqual']);
  expect([...strings!.values()]).toEqual(['/tmp']);
  expect(trace![0]!.options.store).toBeInstanceOf(Slot);
  expect(new Assembler().finish(4).trace).toBeUndefined();
});
