import { Cgroup } from '@ns/cgroups';
import { SpecError } from '@ns/libc';
import fc from 'fast-check';
import { parseCgroupName, parseHierarchyPath } from '../src/name.ts';

test.each([
  ['jobs/42', ['jobs', '42']],
  ['a', ['a']],
  ['app.slice/Ünïcode name', ['app.slice', 'Ünïcode name']],
])('%j is a name', (name, components) => {
  expect(parseCgroupName(name)).toEqual(components);
});

test.each([
  '',
  '/',
  '/jobs',
  'jobs/',
  'jobs//42',
  '.',
  '..',
  '../x',
  'jobs/../../x',
  'jobs/./42',
  '.hidden',
  'jobs/.hidden',
  'a\0b',
  'a\nb',
  'a\u007fb',
  'x'.repeat(300),
  'ü'.repeat(128),
  'x/'.repeat(2_000),
  'cgroup.procs',
  'jobs/memory.max',
  'tasks',
  'half \ud800 a character',
  42,
  undefined,
  null,
  {},
])('%j is refused before anything is made', async (name) => {
  expect(() => parseCgroupName(name)).toThrow(SpecError);
  await expect(Cgroup.create(name as string)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'name' });
  await expect(Cgroup.open(name as string)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

test('what is accepted always stays beneath the parent', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), (name) => {
      try {
        const components = parseCgroupName(name);
        expect(components.join('/')).toBe(name);
        for (const component of components) expect(component).not.toMatch(/^(?:\.|$)|[\0/]/);
      } catch (error) {
        expect(error).toBeInstanceOf(SpecError);
      }
    }),
  );
});

test('a path inside a hierarchy may be named as systemd names things, but not climb', () => {
  expect(parseHierarchyPath('/')).toEqual([]);
  expect(parseHierarchyPath('/-.slice/init.scope')).toEqual(['-.slice', 'init.scope']);
  for (const path of ['', 'ns', '/a/../b', '/./a', '/a\0b', `/${'x'.repeat(256)}`])
    expect(() => parseHierarchyPath(path)).toThrow(SpecError);
});
