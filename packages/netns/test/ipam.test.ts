import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  AddressPool,
  type AddressPoolOptions,
  addressNumber,
  addressText,
  claimSubnet,
  listClaims,
  overlaps,
  parseSubnet,
  releaseSubnets,
} from '@ns/netns';
import fc from 'fast-check';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ipam-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const open = (options: Partial<AddressPoolOptions> & { subnet: string }) =>
  AddressPool.open({ name: 'test', stateRoot: root, ...options });
const all = (pool: AddressPool): string[] => {
  const addresses: string[] = [];
  try {
    for (;;) addresses.push(pool.allocate('x').address);
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_NS_ADDRESS_POOL_EXHAUSTED' });
    return addresses;
  }
};

test.each([
  ['10.0.0.0/29', ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6'], '10.0.0.1'],
  ['10.0.0.0/30', ['10.0.0.2'], '10.0.0.1'],
  ['10.0.0.0/31', ['10.0.0.1'], '10.0.0.0'],
  ['10.0.0.5/32', ['10.0.0.5'], undefined],
  ['fd00::/126', ['fd00::2', 'fd00::3'], 'fd00::1'],
  ['fd00::/127', ['fd00::1'], 'fd00::'],
  ['fd00::7/128', ['fd00::7'], undefined],
])('%s hands out exactly the addresses hosts may have', (subnet, addresses, gateway) => {
  const pool = open({ subnet });
  expect(pool.gateway).toBe(gateway);
  expect(all(pool)).toEqual(addresses);
});

test('range, gateway and auxiliary addresses are kept', () => {
  const pool = open({
    subnet: '10.0.0.0/24',
    gateway: '10.0.0.9',
    range: '10.0.0.8/29',
    auxiliaryAddresses: { printer: '10.0.0.11' },
  });
  expect(all(pool)).toEqual(['10.0.0.8', '10.0.0.10', '10.0.0.12', '10.0.0.13', '10.0.0.14', '10.0.0.15']);
  expect(() => pool.allocate('x', { address: '10.0.0.11' })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_ADDRESS_IN_USE', owner: 'printer' }),
  );
  expect(() => pool.allocate('x', { address: '10.0.0.9' })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_ADDRESS_IN_USE' }),
  );
  expect(pool.allocate('x', { address: '10.0.0.77' }).address).toBe('10.0.0.77');
  expect(() => pool.allocate('y', { address: '10.0.0.77' })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_ADDRESS_IN_USE', owner: 'x' }),
  );
});

test.each([
  [{ subnet: '10.0.0.1/24' }, 'subnet'],
  [{ subnet: '10.0.0.0' }, 'subnet'],
  [{ subnet: '10.0.0.0/33' }, 'subnet'],
  [{ subnet: 'nonsense/8' }, 'subnet'],
  [{ subnet: '10.0.0.0/24', gateway: '10.0.1.1' }, 'gateway'],
  [{ subnet: '10.0.0.0/24', gateway: '10.0.0.255' }, 'gateway'],
  [{ subnet: '10.0.0.0/24', gateway: 'fd00::1' }, 'gateway'],
  [{ subnet: '10.0.0.0/24', range: '10.0.0.0/16' }, 'range'],
  [{ subnet: '10.0.0.0/24', auxiliaryAddresses: { a: '10.2.0.1' } }, 'auxiliaryAddresses.a'],
  [{ subnet: '10.0.0.0/24', name: '../x' }, 'name'],
])('%p is refused', (options, field) => {
  expect(() => open(options)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }));
});

test.each(['10.1.0.5', '10.0.0.0', '10.0.0.255', 'fd00::1', 'x'])('the wanted address %s is refused', (address) => {
  expect(() => open({ subnet: '10.0.0.0/24' }).allocate('x', { address })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }),
  );
});

test('leases survive, are given back, and an address rests before it is used again', () => {
  const first = open({ subnet: '10.0.0.0/24' });
  expect(first.allocate('a').address).toBe('10.0.0.2');
  expect(first.allocate('b').address).toBe('10.0.0.3');
  first.release('10.0.0.3', 'who had it before');
  expect(first.list().map(({ address }) => address)).toContain('10.0.0.3');
  first.release('10.0.0.3');
  first.release('10.0.0.3');
  const second = open({ subnet: '10.0.0.0/24' });
  expect(second.list()).toMatchObject([{ address: '10.0.0.2', owner: 'a', prefixLength: 24 }]);
  expect(first.allocate('c').address).toBe('10.0.0.4');
  expect(second.prune((owner) => owner === 'a')).toMatchObject([{ address: '10.0.0.2' }]);
  second.releaseOwner('c');
  expect(first.list()).toEqual([]);
  first.remove();
  first.remove();
});

test('1,000 parallel allocations of several openers never meet', async () => {
  const pools = Array.from({ length: 4 }, () => open({ subnet: '10.0.0.0/20' }));
  const leases = await Promise.all(
    Array.from({ length: 1000 }, async (_, index) => pools[index % 4]!.allocate(`owner-${index}`)),
  );
  expect(new Set(leases.map((lease) => lease.address)).size).toBe(1000);
  expect(pools[0]!.list()).toHaveLength(1000);
});

test('several processes never get the same address', async () => {
  const { build } = await import('esbuild');
  const program = join(root, 'allocate.mjs');
  await build({
    stdin: {
      contents: `import { AddressPool } from './address-pool.ts';
        const pool = AddressPool.open({ name: 'test', subnet: '10.0.0.0/22', stateRoot: ${JSON.stringify(root)} });
        console.log(JSON.stringify(Array.from({ length: 100 }, () => pool.allocate('p' + process.pid).address)));`,
      resolveDir: fileURLToPath(new URL('../src/ipam', import.meta.url)),
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['koffi'],
    conditions: ['@ns/source'],
    target: 'node20',
    outfile: program,
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  // koffi is native, so it is not bundled, and it is looked for from here.
  symlinkSync(fileURLToPath(new URL('../../../node_modules', import.meta.url)), join(root, 'node_modules'));
  const outputs = await Promise.all(Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, [program])));
  const addresses = outputs.flatMap(({ stdout }) => JSON.parse(stdout) as string[]);
  expect(addresses).toHaveLength(400);
  expect(new Set(addresses).size).toBe(400);
});

test('numbers and text of addresses agree', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
      fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }),
      (six, four) => {
        expect(addressNumber(addressText(six, 'inet6'))).toBe(six);
        expect(addressNumber(addressText(four, 'inet'))).toBe(four);
      },
    ),
  );
});

test('overlap is what it says', () => {
  expect(overlaps(parseSubnet('10.0.0.0/8'), parseSubnet('10.255.255.255/32'))).toBe(true);
  expect(overlaps(parseSubnet('10.0.0.0/9'), parseSubnet('10.128.0.0/9'))).toBe(false);
  expect(overlaps(parseSubnet('::/0'), parseSubnet('0.0.0.0/0'))).toBe(false);
});

test('subnets are claimed once, chosen ones avoid each other, and overlaps are refused', async () => {
  const stateRoot = root;
  const claims = await Promise.all(['a', 'b', 'c', 'd'].map((name) => claimSubnet({ name, stateRoot })));
  expect(new Set(claims.map((subnet) => subnet.text)).size).toBe(4);
  const wanted = await claimSubnet({ name: 'e', subnet: '10.201.0.0/16', stateRoot });
  expect(wanted.text).toBe('10.201.0.0/16');
  await expect(claimSubnet({ name: 'f', subnet: '10.201.9.0/24', stateRoot })).rejects.toMatchObject({
    code: 'ERR_NS_SUBNET_OVERLAP',
    message: expect.stringContaining("network 'e'"),
  });
  await releaseSubnets('e', { stateRoot });
  await releaseSubnets('e', { stateRoot });
  await claimSubnet({ name: 'f', subnet: '10.201.9.0/24', stateRoot });
  const six = await claimSubnet({ name: 'a', family: 'inet6', stateRoot });
  expect(six.text).toMatch(/^fd.*::\/64$/);
  await expect(
    claimSubnet({ name: 'g', stateRoot, pools: [{ base: claims[0]!.text, prefixLength: 16 }] }),
  ).rejects.toMatchObject({ code: 'ERR_NS_NO_FREE_SUBNET' });
  await expect(claimSubnet({ name: 'h', subnet: '127.0.0.0/24', stateRoot })).rejects.toMatchObject({
    code: 'ERR_NS_SUBNET_OVERLAP',
  });
  expect((await listClaims({ stateRoot })).map((claim) => claim.name).sort()).toEqual(['a', 'a', 'b', 'c', 'd', 'f']);
  // A second attempt under the same name meets its own claim, and takes it.
  await claimSubnet({ name: 'f', subnet: '10.201.9.0/24', stateRoot });
  expect(readdirSync(join(root, 'subnets')).filter((file) => file.endsWith('.json'))).toHaveLength(6);
});

test('what somebody who was killed has left of a claim goes with the next one', async () => {
  const stateRoot = root;
  await claimSubnet({ name: 'a', stateRoot });
  const [old, fresh] = ['old', 'new'].map((name) => join(root, 'subnets', `${name}.json.1.draft`)) as [string, string];
  writeFileSync(old, '{');
  utimesSync(old, 1, 1);
  writeFileSync(fresh, '{');
  await claimSubnet({ name: 'b', stateRoot });
  expect([existsSync(old), existsSync(fresh)]).toEqual([false, true]);
});
