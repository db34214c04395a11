import { withoutLoopback } from '../src/host-resolvers.ts';

test.each([
  ['the stub of systemd-resolved', 'nameserver 127.0.0.53\noptions edns0\n', 'options edns0\n'],
  ['loopback of both families', 'nameserver ::1\nnameserver 127.1\nnameserver ::ffff:127.0.0.1\n', ''],
  ['others stay, in their order', 'search example.com\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n', undefined],
  ['comments and what looks like one', '# nameserver 127.0.0.1\nnameserver 198.51.100.127\n', undefined],
  ['addresses that begin like it', 'nameserver ::1234\n', undefined],
])('%s', (_, given, expected = given) => {
  expect(withoutLoopback(given)).toBe(expected);
});
