import { type DeviceRule, defaultDeviceRules } from '@ns/cgroups';
import fc from 'fast-check';
import { deviceListWrites } from '../src/device-list.ts';
import { type FullDeviceRule, parseDeviceRules } from '../src/device-policy.ts';
import { deviceProgram } from '../src/device-program.ts';

interface Request {
  readonly type: 'b' | 'c';
  readonly access: number;
  readonly major: number;
  readonly minor: number;
}

/** The verdict of a program, by executing the few instructions it is made of. */
function execute(program: Buffer, { type, access, major, minor }: Request): number {
  const context = Buffer.alloc(12);
  context.writeUInt32LE(((access << 16) | (type === 'b' ? 1 : 2)) >>> 0, 0);
  context.writeUInt32LE(major, 4);
  context.writeUInt32LE(minor, 8);
  const registers = new Array<number>(11).fill(Number.NaN);
  for (let at = 0, steps = 0; steps < 10_000; at++, steps++) {
    const code = program.readUInt8(at * 8);
    const dst = program.readUInt8(at * 8 + 1) & 0xf;
    const src = program.readUInt8(at * 8 + 1) >> 4;
    const off = program.readInt16LE(at * 8 + 2);
    const imm = program.readInt32LE(at * 8 + 4);
    const value = registers[dst]!;
    if (code === 0x61) registers[dst] = context.readUInt32LE(off);
    else if (code === 0xbc) registers[dst] = registers[src]!;
    else if (code === 0x54) registers[dst] = (value & imm) >>> 0;
    else if (code === 0x74) registers[dst] = value >>> imm;
    else if (code === 0xb7) registers[dst] = imm;
    else if (code === 0x55) at += value === imm ? 0 : off;
    else if (code === 0x15) at += value === imm ? off : 0;
    else if (code === 0x95) return registers[0]!;
    else throw new Error(`unknown instruction ${code}`);
  }
  throw new Error('the program does not end');
}

const bits: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };

/** What the rules say, without a program: the last rule that fits. */
function decide(rules: readonly FullDeviceRule[], request: Request): number {
  for (const rule of [...rules].reverse()) {
    const letters = [...rule.access].reduce((sum, letter) => sum | bits[letter]!, 0);
    const numbers =
      (rule.type === 'a' || rule.type === request.type) &&
      (rule.major === '*' || rule.major === request.major) &&
      (rule.minor === '*' || rule.minor === request.minor);
    const fits = rule.allow ? (request.access & ~letters) === 0 : (request.access & letters) !== 0;
    if (numbers && fits) return rule.allow ? 1 : 0;
  }
  return 0;
}

const number = fc.oneof(fc.constant<'*'>('*'), fc.integer({ min: 0, max: 4 }));
const rule: fc.Arbitrary<FullDeviceRule> = fc.record({
  allow: fc.boolean(),
  type: fc.constantFrom('a', 'b', 'c'),
  major: number,
  minor: number,
  access: fc.constantFrom('r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm'),
});
const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constantFrom('b', 'c'),
  access: fc.integer({ min: 1, max: 7 }),
  major: fc.integer({ min: 0, max: 5 }),
  minor: fc.integer({ min: 0, max: 5 }),
});

test('the program decides as the rules do', () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 8 }), request, (rules, asked) => {
      expect(execute(deviceProgram(rules), asked)).toBe(decide(rules, asked));
    }),
    { numRuns: 2_000 },
  );
});

test('a program that denies everything, byte by byte', () => {
  expect(deviceProgram([]).toString('hex').match(/.{16}/g)).toEqual([
    '6112000000000000', // r2 = *(u32 *)(r1 + 0)
    'bc23000000000000', // w3 = w2
    '54020000ffff0000', // w2 &= 0xffff
    '7403000010000000', // w3 >>= 16
    '6114040000000000', // r4 = *(u32 *)(r1 + 4)
    '6115080000000000', // r5 = *(u32 *)(r1 + 8)
    'b700000000000000', // r0 = 0
    '9500000000000000', // exit
  ]);
});

test('the default allows what Docker allows', () => {
  const program = deviceProgram(parseDeviceRules(defaultDeviceRules, 'devices'));
  const ask = (type: 'b' | 'c', major: number, minor: number, access: number): number =>
    execute(program, { type, major, minor, access });
  for (const minor of [3, 5, 7, 8, 9]) expect(ask('c', 1, minor, 6)).toBe(1);
  expect(ask('c', 136, 99, 6)).toBe(1);
  expect(ask('c', 1, 1, 2)).toBe(0); // /dev/mem
  expect(ask('b', 8, 0, 2)).toBe(0);
  expect(ask('b', 8, 0, 1)).toBe(1); // mknod alone is harmless
  expect(ask('c', 10, 229, 2)).toBe(0); // /dev/fuse
});

test('lines for the v1 controller', () => {
  const rules: DeviceRule[] = [
    { allow: true },
    { allow: false, major: 8 },
    { allow: true, type: 'c', major: 1, minor: 3, access: 'rw' },
  ];
  expect(deviceListWrites(parseDeviceRules(rules, 'devices')).map(({ file, value }) => `${file} ${value}`)).toEqual([
    'devices.deny a',
    'devices.allow a',
    'devices.deny b 8:* rwm',
    'devices.deny c 8:* rwm',
    'devices.allow c 1:3 rw',
  ]);
});
