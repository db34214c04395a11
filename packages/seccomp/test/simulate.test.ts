import { simulate } from '@ns/seccomp';

/** `struct sock_filter` entries: code, k, jt, jf. */
function program(...instructions: (readonly [code: number, k?: number, jt?: number, jf?: number])[]): Buffer {
  return Buffer.concat(
    instructions.map(([code, k = 0, jt = 0, jf = 0]) => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(code, 0);
      bytes.writeUInt8(jt, 2);
      bytes.writeUInt8(jf, 3);
      bytes.writeUInt32LE(k, 4);
      return bytes;
    }),
  );
}

const run = (...instructions: Parameters<typeof program>) =>
  simulate(program(...instructions), { nr: 7, arch: 0xc000003e, args: [0x1_0000_0002n] }).value;
const RET_A = [0x16] as const;
const loadImmediate = (k: number) => [0x00, k] as const;
const loadIndex = (k: number) => [0x01, k] as const;

test.each([
  ['add', 0x04, 0xffffffff, 2, 1],
  ['sub', 0x14, 1, 2, 0xffffffff],
  ['mul', 0x24, 0x80000001, 3, 0x80000003],
  ['div', 0x34, 0xffffffff, 2, 0x7fffffff],
  ['or', 0x44, 0x80000000, 1, 0x80000001],
  ['and', 0x54, 0xf0000001, 0xe0000000, 0xe0000000],
  ['lsh', 0x64, 3, 31, 0x80000000],
  ['rsh', 0x74, 0x80000000, 31, 1],
  ['xor', 0xa4, 0xffffffff, 1, 0xfffffffe],
])('%s takes a constant or the index register', (_, code, a, operand, expected) => {
  expect(run(loadImmediate(a), [code, operand], RET_A)).toBe(expected);
  expect(run(loadImmediate(a), loadIndex(operand), [code | 8], RET_A)).toBe(expected);
});

test.each([
  ['jeq', 0x15, [false, true, false]],
  ['jgt', 0x25, [true, false, false]],
  ['jge', 0x35, [true, true, false]],
  ['jset', 0x45, [true, true, false]],
])('%s compares without signs', (_, code, expected) => {
  const taken = (a: number, operand: number) => [
    run(loadImmediate(a), [code, operand, 1, 0], [0x06, 0], [0x06, 1]) === 1,
    run(loadImmediate(a), loadIndex(operand), [code | 8, 0, 1, 0], [0x06, 0], [0x06, 1]) === 1,
  ];
  const operands = [1, 0x80000001, code === 0x45 ? 2 : 0xffffffff];
  expect(operands.map((operand) => taken(0x80000001, operand))).toEqual(expected.map((is) => [is, is]));
});

test('loads, memory and registers', () => {
  expect(run([0x20, 0], RET_A)).toBe(7);
  expect([16, 20].map((offset) => run([0x20, offset], RET_A))).toEqual([2, 1]);
  expect(run([0x80], RET_A)).toBe(64);
  expect(run([0x81], [0x87], RET_A)).toBe(64);
  expect(run(loadImmediate(5), [0x02, 15], loadImmediate(0), [0x60, 15], RET_A)).toBe(5);
  expect(run(loadIndex(6), [0x03, 0], [0x61, 0], [0x87], RET_A)).toBe(6);
  expect(run(loadImmediate(1), [0x07], loadImmediate(9), [0x1c], RET_A)).toBe(8);
  expect(run(loadImmediate(1), [0x84], RET_A)).toBe(0xffffffff);
});

test('a division by a register that is 0 ends with 0, and of a shift by a register five bits count', () => {
  expect(run(loadImmediate(9), loadIndex(0), [0x3c], [0x06, 1])).toBe(0);
  expect(run(loadImmediate(1), loadIndex(33), [0x6c], RET_A)).toBe(2);
  expect(run(loadImmediate(4), loadIndex(33), [0x7c], RET_A)).toBe(2);
});

test.each<{ what: string; instructions: Parameters<typeof program> }>([
  { what: 'an unknown instruction', instructions: [[0x8c], RET_A] },
  { what: 'a division by 0', instructions: [[0x34, 0], RET_A] },
  { what: 'a shift by 32', instructions: [[0x64, 32], RET_A] },
  { what: 'a load past the end', instructions: [[0x20, 64], RET_A] },
  { what: 'a load between words', instructions: [[0x20, 2], RET_A] },
  { what: 'a store past the end', instructions: [[0x02, 16], RET_A] },
  { what: 'a jump past the end', instructions: [[0x05, 1], RET_A] },
  { what: 'no verdict', instructions: [[0x07]] },
])('$what: the kernel refuses the program', ({ instructions }) => {
  expect(() => run(...instructions)).toThrow(RangeError);
});
