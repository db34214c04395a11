import { isIPv6, SocketAddress } from 'node:net';
import { linkLocalAddress } from '@ns/netns';

test.each([
  ['02:42:0a:4d:00:02', 'fe80::42:aff:fe4d:2'],
  // Groups of zeros, too, as whoever asks the resolver is called by Node: its policy is found by that.
  ['02:00:00:00:00:01', 'fe80::ff:fe00:1'],
  ['02:00:00:00:00:00', 'fe80::ff:fe00:0'],
  ['00:00:5e:00:01:02', 'fe80::200:5eff:fe00:102'],
])('the link-local address of %s is %s', (mac, address) => {
  expect(linkLocalAddress(mac)).toBe(address);
  expect(isIPv6(address)).toBe(true);
  expect(new SocketAddress({ address, family: 'ipv6' }).address).toBe(address);
});
