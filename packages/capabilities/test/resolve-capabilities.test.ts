import { CapabilitySet, dockerDefault, resolveCapabilities } from '@ns/capabilities';
import { SpecError } from '@ns/libc';

const host = CapabilitySet.all();
const resolve = (...args: Parameters<typeof resolveCapabilities>) => resolveCapabilities(args[0], args[1] ?? host);

// The cases of Docker's own rules; see the documentation of --cap-add and --cap-drop.
test.each([
  ['nothing asked for', {}, dockerDefault],
  ['add', { add: ['NET_ADMIN'] }, dockerDefault.union(CapabilitySet.of('NET_ADMIN'))],
  ['drop', { drop: ['cap_mknod'] }, dockerDefault.difference(CapabilitySet.of('MKNOD'))],
  ['add wins over drop', { add: ['CHOWN'], drop: ['CHOWN'] }, dockerDefault],
  ['drop ALL', { drop: ['ALL'] }, CapabilitySet.empty],
  ['drop ALL, add some', { drop: ['all'], add: ['CHOWN'] }, CapabilitySet.of('CHOWN')],
  ['drop ALL and the same by name', { drop: ['ALL', 'CHOWN'], add: ['CHOWN'] }, CapabilitySet.of('CHOWN')],
  ['add ALL', { add: ['ALL'] }, host],
  ['add ALL, drop some', { add: ['ALL'], drop: ['SYS_ADMIN'] }, host.difference(CapabilitySet.of('SYS_ADMIN'))],
  ['both ALL', { add: ['ALL'], drop: ['ALL'] }, host],
])('%s', (_, spec, expected) => {
  expect(resolve(spec)).toEqual({ set: expected, warnings: [] });
});

test('an array is exactly what it says', () => {
  expect(resolve(['CHOWN', 'CAP_KILL']).set.names()).toEqual(['CAP_CHOWN', 'CAP_KILL']);
  expect(resolve([]).set.size).toBe(0);
  expect(resolve(['ALL']).set).toEqual(host);
});

test('what the host cannot grant is a warning with its name', () => {
  const { set, warnings } = resolve({ add: ['SYS_RESOURCE'] }, host.difference(CapabilitySet.of('SYS_RESOURCE')));
  expect(set).toEqual(dockerDefault);
  expect(warnings).toEqual([
    {
      capability: 'CAP_SYS_RESOURCE',
      message: 'CAP_SYS_RESOURCE cannot be granted: it is not in the bounding set of this process',
    },
  ]);
});

test('a capability that no kernel here knows is a warning with its number', () => {
  expect(resolve(['63'])).toEqual({
    set: CapabilitySet.empty,
    warnings: [expect.objectContaining({ capability: '63' })],
  });
});

test.each([
  [
    { add: ['CAP_CHWON'] },
    'capabilities.add[0]: expected the name of a capability, received "CAP_CHWON". Did you mean CAP_CHOWN?',
  ],
  [{ drop: ['SYSADMIN'] }, 'Did you mean CAP_SYS_ADMIN?'],
  [{ added: [] }, 'Did you mean add?'],
  [{ add: 'CHOWN' }, 'capabilities.add: expected an array'],
  [['CHOWN', 'x'], 'capabilities[1]'],
  ['ALL', 'capabilities: expected an object'],
  [null, 'capabilities: expected an object'],
])('%j is refused', (spec, message) => {
  const attempt = () => resolve(spec as never);
  expect(attempt).toThrow(SpecError);
  expect(attempt).toThrow(message);
});
