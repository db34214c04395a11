import { readFileSync } from 'node:fs';
import { dockerDefault, getProcessCapabilities, parseCapabilities } from '@ns/capabilities';

test('the calls that programs are written against', () => {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  expect(getProcessCapabilities(process.pid).bounding.toHex()).toBe(bounding);
  const { effective, permitted, inheritable } = parseCapabilities('cap_net_raw,cap_chown=ep cap_chown-e');
  expect([[...effective], [...permitted], [...inheritable]]).toEqual([
    ['CAP_NET_RAW'],
    ['CAP_CHOWN', 'CAP_NET_RAW'],
    [],
  ]);
  expect([dockerDefault.size, dockerDefault.toHex()]).toEqual([14, '00000000a80425fb']);
});
