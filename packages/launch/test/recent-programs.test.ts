import { randomBytes } from 'node:crypto';
import { SpecError } from '@ns/libc';
import { Lowering, type Step } from '../src/lowering.ts';
import { PreparedProgram } from '../src/prepared-program.ts';
import { assembleProgram } from '../src/recent-programs.ts';

const layout = { extra: 0, named: [] };
const steps = (id: string, extra: Partial<{ env: string[]; filter: Uint8Array }> = {}): Step[] => [
  { op: 'sessionKeyring', name: `_ses.${id}` },
  { op: 'hostname', name: id.slice(0, 12) },
  { op: 'seccomp', filter: extra.filter ?? Buffer.alloc(8), flags: 0 },
  { op: 'exec', candidates: ['/bin/true'], argv: ['true'], env: extra.env ?? [`HOSTNAME=${id.slice(0, 12)}`] },
];
const newId = () => randomBytes(32).toString('hex');
const variables = (id: string) => [id, id.slice(0, 12)];

function fresh(list: readonly Step[]): Buffer {
  const lowering = new Lowering(layout);
  lowering.lower(list);
  return lowering.finish().bytes;
}

test('a program with other names is what assembling again would give', () => {
  const made = new Set<Buffer>();
  for (let i = 0; i < 20; i++) {
    const id = newId();
    const bytes = assembleProgram(steps(id), layout, variables(id));
    expect(bytes).toEqual(fresh(steps(id)));
    made.add(bytes);
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
    expect(assembleProgram(steps(id, change), layout, variables(id))).toEqual(fresh(steps(id, change)));
  }
});

test('an array that the caller changes between two launches is seen', () => {
  const id = newId();
  const env = ['A=1'];
  const list = steps(id, { env });
  assembleProgram(list, layout, variables(id));
  env[0] = 'A=2';
  expect(assembleProgram(list, layout, variables(id))).toEqual(fresh(list));
});

test('mount options in another order are another program', () => {
  const id = newId();
  const scratch = (options: Record<string, string>): Step[] => [{ op: 'mountScratch', options }];
  for (const options of [
    { mode: '0755', size: '1' },
    { size: '1', mode: '0755' },
  ])
    expect(assembleProgram(scratch(options), layout, variables(id))).toEqual(fresh(scratch(options)));
});

test('more plans than are kept', () => {
  for (let i = 0; i < 40; i++) {
    const id = newId();
    const list = steps(id, { env: [`N=${i % 20}`] });
    expect(assembleProgram(list, layout, variables(id))).toEqual(fresh(list));
  }
});

describe('a prepared program', () => {
  const prepare = (id: string) => new PreparedProgram(steps(id), { variables: variables(id) });

  test('is what assembling again would give, for every id', () => {
    const prepared = prepare(newId());
    for (let i = 0; i < 3; i++) {
      const id = newId();
      expect(prepared.bytesFor(variables(id))).toEqual(fresh(steps(id)));
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
      expect(() => prepared.bytesFor(wrong)).toThrow(SpecError);
  });
});
