import { SpecError } from '@ns/libc';
import { validateRunOnce } from '../src/recent-specs.ts';

const command = ['true'];

test('the same options are the same specification', () => {
  const first = validateRunOnce({ command, env: { A: '1' }, timeout: 1000 });
  expect(first).toEqual({ command, env: { A: '1' }, timeout: 1000 });
  const withUndefined = { command: ['true'], env: { A: '1' }, timeout: 1000, check: undefined } as never;
  expect(validateRunOnce(withUndefined)).toBe(first);
});

test.each([
  { env: { A: '2' } },
  { command: ['true', ''] },
  { stdin: 'null' as const },
  { env: { A: '1' }, check: true },
])('with %j it is another', (change) => {
  const first = validateRunOnce({ command, env: { A: '1' } });
  expect(validateRunOnce({ command, env: { A: '1' }, ...change })).not.toBe(first);
});

test('what the caller changes afterwards changes nothing', () => {
  const env: Record<string, string> = { A: '1' };
  const first = validateRunOnce({ command, env });
  env.A = '2';
  expect(first.env).toEqual({ A: '1' });
  expect(validateRunOnce({ command, env }).env).toEqual({ A: '2' });
  env.A = 'A\0';
  expect(() => validateRunOnce({ command, env })).toThrow(SpecError);
});

test.each([
  { timeout: '1000' },
  { timeout: Number.NaN },
  { timeout: null },
  { env: new Map() },
  { env: Object.assign([], { A: '1' }) },
  { check: 1 },
])('what is like something right is not taken for it: %j', (wrong) => {
  validateRunOnce({ command, env: {}, timeout: 1000, check: true });
  expect(() => validateRunOnce({ command, env: {}, timeout: 1000, check: true, ...wrong } as never)).toThrow(SpecError);
});

test('what belongs to one run is not kept', () => {
  const { signal } = new AbortController();
  for (const own of [{ signal }, { stdin: 'text' }, { stdin: Buffer.from('bytes') }]) {
    const first = validateRunOnce({ command, ...own });
    expect(first).toMatchObject(own);
    expect(validateRunOnce({ command, ...own })).not.toBe(first);
  }
});

test('more specifications than are kept', () => {
  for (let i = 0; i < 40; i++)
    expect(validateRunOnce({ command: ['echo', `${i % 20}`] }).command).toEqual(['echo', `${i % 20}`]);
});
