import { SpecError, UnavailableError } from '@ns/libc';
import { type LandlockSpec, type LandlockSupport, planLandlock } from '@ns/lsm';
import fc from 'fast-check';

const kernel = (abi: number): LandlockSupport => ({ abi, fixedErrata: [] });
const files: LandlockSpec = { files: { readOnly: ['/usr'] } };

test.each([
  [1, 0x1fff],
  [2, 0x3fff],
  [3, 0x7fff],
  [4, 0x7fff],
  [5, 0xffff],
  [7, 0xffff],
])('ABI %i handles the file rights it knows: %i', (abi, handled) => {
  expect(planLandlock(files, { support: kernel(abi) }).handledAccessFs).toBe(handled);
});

test('a field that is absent restricts nothing', () => {
  expect(planLandlock({ network: {} }, { support: kernel(7) })).toMatchObject({
    handledAccessFs: 0,
    handledAccessNet: 3,
    scoped: 0,
    paths: [],
    ports: [],
    gaps: [],
    empty: false,
  });
});

test('lists become rights, and rules about one path become one', () => {
  const plan = planLandlock(
    {
      files: {
        readOnly: ['/data'],
        execute: ['/data'],
        devices: ['/dev/null'],
        rules: [{ paths: ['/data', '/log'], allow: ['write_file'] }],
      },
      network: { connect: [443, 53], bind: [53, 0] },
      scopes: ['signal'],
    },
    { support: kernel(7) },
  );
  expect(plan.paths).toEqual([
    { path: '/data', access: 0b1111, fileAccess: 0b111 },
    { path: '/log', access: 0b10, fileAccess: 0b10 },
    { path: '/dev/null', access: 0b1000000000000110, fileAccess: 0b1000000000000110 },
  ]);
  expect(plan.ports).toEqual([
    { port: 53, access: 3 },
    { port: 0, access: 1 },
    { port: 443, access: 2 },
  ]);
  expect(plan.scoped).toBe(2);
});

test('writable places never include device nodes or execution', () => {
  const [rule] = planLandlock({ files: { readWrite: ['/tmp'] } }, { support: kernel(7) }).paths;
  const [makeChar, makeBlock, execute] = [1 << 6, 1 << 11, 1 << 0];
  expect(rule!.access & (makeChar | makeBlock | execute)).toBe(0);
});

test('logging turns into flags only where it differs from the default', () => {
  const flags = (logging: LandlockSpec['logging'] & object) =>
    planLandlock({ ...files, logging }, { support: kernel(7) }).restrictFlags;
  expect(flags({})).toBe(0);
  expect(flags({ sameExec: true, newExec: false, subdomains: true })).toBe(0);
  expect(flags({ sameExec: false, newExec: true, subdomains: false })).toBe(0b111);
});

test('what the spec names must be enforceable, what came later need not', () => {
  const plan = planLandlock(files, { support: kernel(2) });
  expect(plan.gaps).toEqual([
    { feature: 'files: truncate', effect: 'unrestricted', abi: 3, kernel: '6.2', named: false },
    { feature: 'files: ioctl_dev', effect: 'unrestricted', abi: 5, kernel: '6.10', named: false },
  ]);
  expect(() => planLandlock({ network: {} }, { support: kernel(3) })).toThrow(
    "landlock (network) is not available here: it needs Linux 6.7 (Landlock ABI 4), this kernel has ABI 3. Use a newer kernel, or give enforce: 'best-effort' to go on without",
  );
  expect(() => planLandlock({ scopes: ['signal'] }, { support: kernel(5) })).toThrow('scopes.signal');
  expect(() => planLandlock({ ...files, logging: { newExec: true } }, { support: kernel(6) })).toThrow(
    'logging.newExec',
  );
});

test('all means all', () => {
  expect(() => planLandlock(files, { support: kernel(2), enforce: 'all' })).toThrow(UnavailableError);
  expect(planLandlock(files, { support: kernel(5), enforce: 'all' }).gaps).toEqual([]);
});

test('best effort fails never and hides nothing', () => {
  const spec: LandlockSpec = { ...files, network: {}, scopes: ['signal'], logging: { newExec: true } };
  const plan = planLandlock(spec, { support: kernel(0), enforce: 'best-effort' });
  expect(plan.empty).toBe(true);
  expect(plan.gaps.map(({ feature }) => feature)).toEqual(['files', 'network', 'scopes.signal', 'logging.newExec']);
});

test('the first ABI refuses moves between directories whatever the rules say', () => {
  const { gaps } = planLandlock(files, { support: kernel(1) });
  expect(gaps[0]).toMatchObject({ feature: 'files: refer', effect: 'always refused' });
});

test('a kernel without Landlock says why and what to do', () => {
  const support: LandlockSupport = {
    abi: 0,
    fixedErrata: [],
    why: 'Landlock was not enabled',
    fix: 'Add landlock to lsm=',
  };
  expect(() => planLandlock(files, { support })).toThrow(
    "landlock (files) is not available here: Landlock was not enabled. Add landlock to lsm=, or give enforce: 'best-effort'",
  );
});

test.each<[unknown, string]>([
  [{}, 'landlock'],
  [null, 'landlock'],
  [{ file: {} }, 'landlock.file'],
  [{ files: { readonly: [] } }, 'landlock.files.readonly'],
  [{ files: { readOnly: '/usr' } }, 'landlock.files.readOnly'],
  [{ files: { readOnly: ['usr'] } }, 'landlock.files.readOnly[0]'],
  [{ files: { readOnly: ['/a', '/b\0'] } }, 'landlock.files.readOnly[1]'],
  [{ files: { missingPaths: true } }, 'landlock.files.missingPaths'],
  [{ files: { rules: [{ paths: ['/a'], allow: ['read'] }] } }, 'landlock.files.rules[0].allow[0]'],
  [{ files: { rules: [{ paths: ['/a'], allow: [] }] } }, 'landlock.files.rules[0].allow'],
  [{ network: { connect: [0] } }, 'landlock.network.connect[0]'],
  [{ network: { bind: [65536] } }, 'landlock.network.bind[0]'],
  [{ network: { bind: ['80'] } }, 'landlock.network.bind[0]'],
  [{ scopes: ['signals'] }, 'landlock.scopes[0]'],
  [{ scopes: [], logging: { newExec: 1 } }, 'landlock.logging.newExec'],
])('%j is refused and the field named', (spec, field) => {
  const error = (() => {
    try {
      planLandlock(spec as LandlockSpec, { support: kernel(7) });
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(SpecError);
  expect((error as SpecError).field).toBe(field);
});

test('a misspelt key is answered with the right one', () => {
  const spec = { files: { readonly: ['/usr'] } } as unknown as LandlockSpec;
  expect(() => planLandlock(spec)).toThrow('Did you mean readOnly?');
});

test('no kernel is asked for a bit it does not know, and nothing is lost on one that knows all', () => {
  const path = fc.constantFrom('/', '/usr', '/tmp', '/dev/null');
  const spec = fc.record({
    files: fc.record(
      { readOnly: fc.array(path), execute: fc.array(path), readWrite: fc.array(path), devices: fc.array(path) },
      { requiredKeys: [] },
    ),
    network: fc.record({ connect: fc.array(fc.integer({ min: 1, max: 65535 })) }),
    scopes: fc.subarray(['signal', 'abstract_unix_socket'] as const),
  });
  fc.assert(
    fc.property(spec, fc.integer({ min: 0, max: 9 }), (value, abi) => {
      const plan = planLandlock(value, { support: kernel(abi), enforce: 'best-effort' });
      for (const { access, fileAccess } of plan.paths) {
        expect(access & ~plan.handledAccessFs).toBe(0);
        expect(fileAccess & ~access).toBe(0);
      }
      if (abi >= 7) expect(plan.gaps).toEqual([]);
      if (abi < 4) expect(plan.handledAccessNet).toBe(0);
      if (abi < 6) expect(plan.scoped).toBe(0);
    }),
  );
});
