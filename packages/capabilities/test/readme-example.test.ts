import {
  dockerDefault,
  formatCapabilities,
  getProcessCapabilities,
  parseCapabilities,
  resolveCapabilities,
} from '@ns/capabilities';

test('the example of the README', () => {
  const { bounding, effective } = getProcessCapabilities('self');
  effective.has('CAP_SYS_ADMIN'); // false for an ordinary user

  // docker run --cap-drop ALL --cap-add NET_BIND_SERVICE
  const { set, warnings } = resolveCapabilities({ drop: ['ALL'], add: ['NET_BIND_SERVICE'] }, bounding);
  [...set]; // ['CAP_NET_BIND_SERVICE']
  warnings.map(({ message }) => message); // [] unless this host lacks the capability itself

  dockerDefault.toHex(); // '00000000a80425fb'
  const sets = parseCapabilities('=ep cap_sys_admin,cap_sys_module-ep');
  sets.permitted.difference(dockerDefault).size; // how much more than a container has
  formatCapabilities(sets); // '=ep cap_sys_module,cap_sys_admin-ep'

  expect(set.union(dockerDefault).isSubsetOf(bounding.union(dockerDefault).union(set))).toBe(true);
  expect(dockerDefault.toHex()).toBe('00000000a80425fb');
  expect(formatCapabilities(sets)).toBe('=ep cap_sys_module,cap_sys_admin-ep');
  expect(set.size + warnings.length).toBe(1);
});
