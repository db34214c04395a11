import { parsePortSpec } from '@ns/netns';

test.each([
  ['80', [{ protocol: 'tcp', hostPorts: { from: 0, to: 0 }, port: 80 }]],
  ['8080:80', [{ protocol: 'tcp', hostPorts: { from: 8080, to: 8080 }, port: 80 }]],
  ['0:80', [{ protocol: 'tcp', hostPorts: { from: 0, to: 0 }, port: 80 }]],
  ['0.0.0.0:8080:80', [{ protocol: 'tcp', hostAddress: '0.0.0.0', hostPorts: { from: 8080, to: 8080 }, port: 80 }]],
  ['[::]:8080:80', [{ protocol: 'tcp', hostAddress: '::', hostPorts: { from: 8080, to: 8080 }, port: 80 }]],
  [
    '127.0.0.1:8080:80/udp',
    [{ protocol: 'udp', hostAddress: '127.0.0.1', hostPorts: { from: 8080, to: 8080 }, port: 80 }],
  ],
  ['127.0.0.1::80', [{ protocol: 'tcp', hostAddress: '127.0.0.1', hostPorts: { from: 0, to: 0 }, port: 80 }]],
  ['[::1]:8080:80', [{ protocol: 'tcp', hostAddress: '::1', hostPorts: { from: 8080, to: 8080 }, port: 80 }]],
  ['8000-8010:80', [{ protocol: 'tcp', hostPorts: { from: 8000, to: 8010 }, port: 80 }]],
  [
    '8000-8001:90-91',
    [
      { protocol: 'tcp', hostPorts: { from: 8000, to: 8000 }, port: 90 },
      { protocol: 'tcp', hostPorts: { from: 8001, to: 8001 }, port: 91 },
    ],
  ],
])('%s', (text, expected) => expect(parsePortSpec(text)).toEqual(expected));

test.each([
  '',
  'x',
  '80/sctp',
  '1:2:3:4',
  '70000',
  '8080:70000',
  '0',
  '8080:0',
  '1-3:1-2',
  '9-8:9-8',
  'host:80:80',
  '[10.0.0.1]:80:80',
  '::1:80:80',
  '80:',
  '-1:80',
  '80;rm',
  '300.1.1.1:80:80',
])('%p is refused', (text) =>
  expect(() => parsePortSpec(text)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field: 'ports' })),
);
