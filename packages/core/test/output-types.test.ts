import { type Container, type Pool, type PooledSandbox, type RunOptions, run } from '../src/index.ts';

/* What the type checker knows of the output. Nothing of it is run. */

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type OutputOf<Started extends PromiseLike<{ stdout: unknown }>> = Awaited<Started>['stdout'];

export function typed(container: Container, pool: Pool, sandbox: PooledSandbox, wide: RunOptions): void {
  const expectText = <S extends PromiseLike<{ stdout: string }>>(_started: S, _same: Same<OutputOf<S>, string>) => {};
  const expectBytes = <S extends PromiseLike<{ stdout: Buffer }>>(_started: S, _same: Same<OutputOf<S>, Buffer>) => {};
  const bytes = { encoding: 'buffer' } as const;
  const text = { encoding: 'utf8' } as const;

  expectText(run('true'), true);
  expectText(run('true', [], { timeout: 1 }), true);
  expectText(run(['true'], text), true);
  expectText(run('true', { encoding: undefined }), true);
  expectBytes(run('true', [], bytes), true);
  expectBytes(run('true', bytes), true);
  expectBytes(run(['true'], { encoding: 'buffer', check: true }), true);
  expectText(run('true', [], wide), true);

  expectText(container.exec('true'), true);
  expectText(container.exec(['true'], { user: '1' }), true);
  expectBytes(container.exec('true', [], bytes), true);
  expectBytes(container.exec(['true'], bytes), true);
  expectText(container.exec('true', { encoding: wide.encoding }), true);

  expectText(pool.run('true'), true);
  expectBytes(pool.run('true', [], bytes), true);
  expectText(sandbox.run('true', [], text), true);
  expectBytes(sandbox.run('true', [], bytes), true);
  expectText(sandbox.run('true', [], { encoding: wide.encoding }), true);

  // @ts-expect-error no encoding of ours
  run('true', [], { encoding: 'latin1' });
  // @ts-expect-error no option
  container.exec('true', [], { encodign: 'buffer' });
}

test('the types of output are checked with the types of this file', () => {
  expect(typed).toBeInstanceOf(Function);
});
