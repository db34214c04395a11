import { simulate } from '@ns/seccomp';
import { needs, notRoot } from '@ns/testing';
import { notThisMachine, runFiltered } from './filtered-child.ts';

const real = needs(notRoot ?? notThisMachine);

const GETPGID = 121;
const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;

/** getpgid fails with the number that `work` leaves in the accumulator; all else is allowed. */
function failingWith(work: readonly (readonly [code: number, k: number])[]): Buffer {
  const instructions: (readonly [code: number, k: number, jt?: number])[] = [
    [0x20, 0],
    [0x15, GETPGID, 1],
    [0x06, ALLOW],
    ...work,
    [0x44, ERRNO],
    [0x16, 0],
  ];
  const bytes = Buffer.alloc(8 * instructions.length);
  for (const [index, [code, k, jt = 0]] of instructions.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(jt, 8 * index + 2);
    bytes.writeUInt32LE(k, 8 * index + 4);
  }
  return bytes;
}

// ld imm, ldx imm, then the operation with the register.
const programs = {
  'a shift to the left by 33': [
    [0x00, 1],
    [0x01, 33],
    [0x6c, 0],
  ],
  'a shift to the right by 34': [
    [0x00, 12],
    [0x01, 34],
    [0x7c, 0],
  ],
  'a multiplication beyond 32 bits': [
    [0x00, 0x80000001],
    [0x01, 5],
    [0x2c, 0],
    [0x54, 0xff],
  ],
  'a negation': [
    [0x00, 0xfffffffb],
    [0x84, 0],
  ],
  'a division': [
    [0x00, 0xffffffff],
    [0x01, 0x40000000],
    [0x3c, 0],
  ],
} as const;

for (const [name, work] of Object.entries(programs))
  real(`${name}: the simulator says what the kernel does`, async () => {
    const program = failingWith(work);
    const { value } = simulate(program, { nr: GETPGID, arch: 0xc000003e, args: [] });
    const { output, stderr } = await runFiltered(
      Object.assign(program, { flags: 0, notifies: false }),
      `
try: os.getpgid(0)
except OSError as error: print(json.dumps(error.errno))`,
    ).result;
    expect({ output, stderr }).toEqual({ output: value & 0xffff, stderr: '' });
  });
