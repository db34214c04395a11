import { parseEgressRule, parseNameservers } from '@ns/netns';
import { PolicyRules } from '../src/egress/policy-rules.ts';

test.each([
  ['10.1.0.0/16', { kind: 'subnet', port: undefined, protocol: undefined, subnet: { text: '10.1.0.0/16' } }],
  ['10.1.0.1', { kind: 'subnet', subnet: { text: '10.1.0.1/32' } }],
  ['10.1.0.0/16:443/tcp', { kind: 'subnet', port: 443, protocol: 'tcp', subnet: { text: '10.1.0.0/16' } }],
  ['10.1.0.0/16/udp', { kind: 'subnet', port: undefined, protocol: 'udp', subnet: { text: '10.1.0.0/16' } }],
  ['[2001:db8::/32]:443', { kind: 'subnet', port: 443, subnet: { text: '2001:db8::/32' } }],
  ['2001:db8::1', { kind: 'subnet', port: undefined, subnet: { text: '2001:db8::1/128' } }],
  ['2001:db8::/32', { kind: 'subnet', port: undefined, subnet: { text: '2001:db8::/32' } }],
  ['Api.Example.com:443', { kind: 'name', name: 'api.example.com', subdomains: false, port: 443 }],
  ['*.example.com', { kind: 'name', name: 'example.com', subdomains: true, port: undefined }],
])('%s', (text, expected) => expect(parseEgressRule(text)).toMatchObject(expected));

test.each([
  '',
  '*',
  '*.',
  'a..b',
  '-a.b',
  '10.1.0.0/33',
  '10.1.0.5/16',
  '1.2.3',
  '1.2.3.4.5',
  '10.0.0.1:0',
  '10.0.0.1:99999',
  'a b',
  'x"; flush ruleset',
  'a.*.b',
  '[10.0.0.1',
  'fd00::/200',
])('%p is refused', (text) =>
  expect(() => parseEgressRule(text)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' })),
);

test.each([
  ['169.254.169.254', 'most clouds'],
  ['fd00:ec2::254', 'AWS'],
  ['168.63.129.16', 'Azure'],
  ['100.100.100.200', 'Alibaba'],
  ['192.0.0.192', 'Oracle'],
])('the metadata service at %s (%s) is closed also where the rest is allowed', (destination) => {
  const web = { destination, protocol: 'tcp', port: 80 } as const;
  const rules = new PolicyRules({ default: 'allow' });
  expect([rules.allowsConnection(web), rules.isReachable(destination)]).toEqual([false, false]);
  expect(new PolicyRules({ default: 'allow', allow: [destination] }).allowsConnection(web)).toBe(true);
});

test('nameservers of a resolv.conf', () => {
  expect(
    parseNameservers(
      '# nameserver 1.1.1.1\nnameserver 10.0.0.1\n nameserver\tfd00::1\nnameserver fe80::1%eth0\nnameserver nonsense\nsearch x\n',
    ),
  ).toEqual(['10.0.0.1', 'fd00::1']);
});
