import { randomBytes } from 'node:crypto';
import { SpecError } from '@ns/libc';
import { Lowering, type Step } from '../src/lowering.ts';
import { PreparedProgram } from '../src/prepared-program.ts';
import { recentProgram } from '../src/recent-programs.ts';

const layout = { extra: 0, named: [] };
const steps = (id: string, extra: Partial<{ env: string[]; filter: Uint8Array }> = {}): Step[] => [
  { op: 'sessionKeyring', name: `_ses.${id}`, joinableBy: 'user', required: true },
  { op: 'hostname', name: id.slice(0, 12) },
  { op: 'seccomp', filter: extra.filter ?? Buffer.alloc(8), flags: 0 },
  { op: 'exec', candidates: ['/bin/true'], argv: ['true'], env: extra.env ?? [`HOSTNAME=${id.slice(0, 12)}`] },
];
const newId = () => randomBytes(32).toString('hex');
const variables = (id: string) => [id, id.slice(0, 12)];

/** What a process of this launch has once it has received its texts. */
function asReceived(program: PreparedProgram, texts: readonly string[]): Buffer {
  const bytes = Buffer.from(program.bytes);
  const base = 0x10000000;
  const word = (at: number) => Number(bytes.readBigUInt64LE(at));
  const message = program.textsFor(texts)!.bytes;
  const header = word(bytes.readUInt32LE(0) + 24) - base; // second argument of the first instruction
  const [vector, pieces] = [word(header + 16) - base, word(header + 24)];
  let from = 0;
  for (let i = 0; i < pieces; i++) {
    const [to, length] = [word(vector + 16 * i) - base, word(vector + 16 * i + 8)];
    from += message.copy(bytes, to, from, from + length);
  }
  expect(from).toBe(message.length);
  return bytes;
}

function fresh(list: readonly Step[], id: string): Buffer {
  const lowering = new Lowering(layout, { variables: variables(id) });
  lowering.lower(list);
  return lowering.finish().bytes;
}

test('a program with other names is what assembling again would give', () => {
  const made = new Set<PreparedProgram>();
  for (let i = 0; i < 20; i++) {
    const id = newId();
    const program = recentProgram(steps(id), layout, variables(id));
    expect(asReceived(program, variables(id))).toEqual(fresh(steps(id), id));
    made.add(program);
  }
  expect(made.size).toBe(1);
});

test('steps that differ in anything else are assembled', () => {
  const changes = [
    {},
    { env: ['A=1'] },
    { env: ['A=2'] },
    { filter: Buffer.alloc(8, 1) },
    { env: ['A=1', 'B='], filter: Buffer.alloc(16) },
  ];
  for (const change of [...changes, ...changes]) {
    const id = newId();
    expect(asReceived(recentProgram(steps(id, change), layout, variables(id)), variables(id))).toEqual(
      fresh(steps(id, change), id),
    );
  }
});

test('an array that the caller changes between two launches is seen', () => {
  const id = newId();
  const env = ['A=1'];
  const list = steps(id, { env });
  recentProgram(list, layout, variables(id));
  env[0] = 'A=2';
  expect(asReceived(recentProgram(list, layout, variables(id)), variables(id))).toEqual(fresh(list, id));
});

test('mount options in another order are another program', () => {
  const id = newId();
  const scratch = (options: Record<string, string>): Step[] => [{ op: 'mountScratch', options }];
  for (const options of [
    { mode: '0755', size: '1' },
    { size: '1', mode: '0755' },
  ])
    expect(asReceived(recentProgram(scratch(options), layout, variables(id)), variables(id))).toEqual(
      fresh(scratch(options), id),
    );
});

test('more plans than are kept', () => {
  for (let i = 0; i < 40; i++) {
    const id = newId();
    const list = steps(id, { env: [`N=${i % 20}`] });
    expect(asReceived(recentProgram(list, layout, variables(id)), variables(id))).toEqual(fresh(list, id));
  }
});

describe('a prepared program', () => {
  const prepare = (id: string) => new PreparedProgram(steps(id), { variables: variables(id) });

  test('is what assembling again would give, for every id', () => {
    const prepared = prepare(newId());
    for (let i = 0; i < 3; i++) {
      const id = newId();
      expect(asReceived(prepared, variables(id))).toEqual(fresh(steps(id), id));
      expect(prepared.stepsFor(variables(id))).toEqual(steps(id));
    }
  });

  test('takes no texts of other lengths, and none with NUL bytes', () => {
    const prepared = prepare(newId());
    const id = newId();
    for (const wrong of [
      [],
      [id],
      [id, 'short'],
      [`${id.slice(1)}\0`, id.slice(0, 12)],
      [`${id.slice(1)}é`, id.slice(0, 12)],
    ])
      expect(() => prepared.textsFor(wrong)).toThrow(SpecError);
  });

  test('has its variables in many places, but not in any number, and none that is empty', () => {
    const id = newId();
    const inPlaces = (count: number) =>
      new PreparedProgram(steps(id, { env: Array.from({ length: count }, (_, i) => `V${i}=${id}`) }), {
        variables: [id],
      });
    expect(inPlaces(1000).textsFor([id])!.bytes.toString()).toBe(id.repeat(1001));
    expect(() => inPlaces(1024)).toThrow(SpecError);
    expect(() => new PreparedProgram(steps(id), { variables: [''] })).toThrow(SpecError);
  });

  test('without variables waits for nothing', () => {
    expect(new PreparedProgram(steps(newId())).textsFor([])).toBeUndefined();
  });
});
