import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SpecError, UnavailableError } from '@ns/libc';
import {
  categoryPairLevel,
  containerLabels,
  formatSelinuxContext,
  isSelinuxContextKnown,
  parseSelinuxContext,
  selinuxAllows,
  selinuxContext,
  selinuxExecLabel,
  selinuxMountLabel,
  selinuxProcessLabel,
  selinuxSupport,
} from '@ns/lsm';
import { needs } from '@ns/testing';

test.each([
  'system_u:system_r:container_t:s0:c1,c2',
  'unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023',
  'system_u:object_r:container_file_t:s0',
  'user_u:role_r:type_t',
])('%s is a context', (text) => expect(formatSelinuxContext(parseSelinuxContext(text))).toBe(text));

test.each<unknown>([
  '',
  'a:b',
  'a:b:',
  'a:b:c:',
  'a:b:c:s0:c1,',
  'a:b:c:s0:c1 ,c2',
  'a:b:c:s0"',
  'a:b:c\0',
  'a:b,x:c',
  7,
  null,
])('%j is none', (text) => expect(() => parseSelinuxContext(text)).toThrow(SpecError));

test('labels of a container', () => {
  expect(containerLabels({ level: categoryPairLevel(7, 3) })).toEqual({
    process: 'system_u:system_r:container_t:s0:c3,c7',
    mount: 'system_u:object_r:container_file_t:s0:c3,c7',
  });
  expect(() => categoryPairLevel(1, 1)).toThrow(SpecError);
  expect(() => categoryPairLevel(0, 1024)).toThrow(SpecError);
  expect(() => containerLabels({ level: 's0', fileType: 'a:b' })).toThrow('fileType');
});

test('support is read from selinuxfs, and its absence explained', () => {
  const root = mkdtempSync(join(tmpdir(), 'ns-lsm-'));
  try {
    expect(selinuxSupport({ root })).toMatchObject({ available: false, why: 'this kernel does not run SELinux' });
    mkdirSync(join(root, 'proc'));
    writeFileSync(join(root, 'proc/filesystems'), 'nodev\tselinuxfs\n\text4\n');
    expect(selinuxSupport({ root })).toMatchObject({ available: false, why: expect.stringContaining('no policy') });
    mkdirSync(join(root, 'sys/fs/selinux'), { recursive: true });
    writeFileSync(join(root, 'sys/fs/selinux/enforce'), '1');
    expect(selinuxSupport({ root })).toEqual({ available: true, mode: 'enforcing' });
  } finally {
    rmSync(root, { recursive: true });
  }
});

const label = 'system_u:system_r:container_t:s0:c1,c2';
const { available } = selinuxSupport();

needs(available ? 'SELinux is here' : undefined)('labels are refused where there is no SELinux', () => {
  for (const use of [selinuxExecLabel, selinuxProcessLabel, selinuxMountLabel, isSelinuxContextKnown]) {
    expect(() => use(label)).toThrow(UnavailableError);
    expect(() => use('wrong')).toThrow(SpecError);
  }
  const question = { source: label, target: label, class: 'process', permissions: ['transition'] };
  for (const use of [selinuxContext, () => selinuxAllows(question)]) expect(use).toThrow(UnavailableError);
  for (const wrong of [
    { source: 'x' },
    { class: '' },
    { class: 'a/../b' },
    { permissions: [] },
    { permissions: ['/'] },
  ])
    expect(() => selinuxAllows({ ...question, ...wrong })).toThrow(SpecError);
});

needs(available ? undefined : 'SELinux is not here')('a mount label is quoted where commas would split it', () => {
  expect(selinuxMountLabel(label)).toEqual({ key: 'context', value: label, option: `context="${label}"` });
  expect(selinuxExecLabel(label)).toEqual({ file: '/proc/thread-self/attr/exec', label });
});

test.each<unknown>([undefined, null, 7, [], {}, { level: 's0', types: 'x' }])(
  '%j makes no labels and no context',
  (wrong) => {
    expect(() => containerLabels(wrong as never)).toThrow(SpecError);
    expect(() => formatSelinuxContext(wrong as never)).toThrow(SpecError);
  },
);
