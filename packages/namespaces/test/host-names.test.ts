import { SpecError } from '@ns/libc';
import { checkDomainname, checkHostname } from '@ns/namespaces';

test.each(['web-1', 'a', 'x'.repeat(64), 'ü'.repeat(32), 'host.example.org'])('%p is a host name', (name) => {
  expect(checkHostname(name)).toBe(name);
});

test.each(['', 'x'.repeat(65), 'ü'.repeat(33), 'a\0b', 'a b', 'a\nb', 'a/b', '\x7f', 5, undefined])(
  '%p is none',
  (name) => {
    expect(() => checkHostname(name as string)).toThrow(SpecError);
    expect(() => checkDomainname(name as string)).toThrow('domainname');
  },
);

test('the kernel begins with this domain name', () => {
  expect(checkDomainname('(none)')).toBe('(none)');
});
