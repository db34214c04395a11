import {
  CapabilitySet,
  capabilityNames,
  formatCapabilities,
  lastCapability,
  parseCapabilities,
} from '@ns/capabilities';
import { SpecError } from '@ns/libc';
import { needs } from '@ns/testing';
import fc from 'fast-check';
import { askLibcap, libcapMissing } from './libcap.ts';

const mask = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((value) => CapabilitySet.fromMask(value));
const hex = ({ mask: value }: CapabilitySet) => value.toString(16);

test.each([
  ['=', ''],
  ['cap_chown=ep', 'chown+ep'],
  ['=ep cap_sys_resource-ep', 'all=ep CAP_SYS_RESOURCE-ep'],
  ['cap_chown=ip cap_kill+i', 'cap_chown,cap_kill=i cap_chown+p'],
  ['= 63+p', '63=p'],
  ['cap_chown=i 62+ep 63+p', '63=p 62=ep 0=i'],
  ['=i cap_kill+e-i', '=i cap_kill=e'],
])('%p is printed for %p', (printed, text) => {
  expect(formatCapabilities(parseCapabilities(text))).toBe(printed);
});

test.each([
  'cap_chown',
  '+e',
  '=e+p',
  'cap_chown,=e',
  'cap_chown=E',
  'cap_chown= e',
  'cap_nope=e',
  '64=e',
  '==e',
  'cap_chown=e-',
  'cap_chown=e,cap_kill=e',
  5 as unknown as string,
])('%p is refused', (text) => {
  expect(() => parseCapabilities(text)).toThrow(SpecError);
});

test('the nearest name is told', () => {
  expect(() => parseCapabilities('cap_net_rwa=ep')).toThrow('Did you mean CAP_NET_RAW?');
});

test('what is printed reads back as the same sets', () => {
  fc.assert(
    fc.property(mask, mask, mask, (effective, permitted, inheritable) => {
      const state = { effective, permitted, inheritable };
      expect(parseCapabilities(formatCapabilities(state))).toEqual(state);
    }),
  );
});

describe('libcap agrees', () => {
  const test = needs(libcapMissing());

  // Names that libcap takes: it knows no short forms.
  const name = fc.oneof(
    fc
      .constantFrom(...capabilityNames.slice(0, lastCapability() + 1))
      .chain((text) => fc.constantFrom(text, text.toLowerCase())),
    fc.constantFrom('all', 'ALL', '0', '63', '64', '0x10', '010', '08', 'cap_nope', '', '_'),
  );
  const action = fc.tuple(
    fc.constantFrom('=', '+', '-', '=+', '=-', ''),
    fc.constantFrom('e', 'i', 'p', 'ep', 'eip', 'pp', '', 'E'),
  );
  const clause = fc
    .tuple(fc.array(name, { maxLength: 3 }), fc.array(action, { minLength: 1, maxLength: 3 }))
    .map(([names, actions]) => names.join(',') + actions.map((part) => part.join('')).join(''));
  const text = fc
    .tuple(fc.array(clause, { maxLength: 3 }), fc.constantFrom(' ', '  ', '\t'))
    .map(([clauses, space]) => clauses.join(space));

  test('on which texts are well formed, on their meaning, and on the text printed', () => {
    const texts = fc.sample(text, 4000);
    const verdicts = askLibcap(texts);
    const ours = texts.map((each) => {
      try {
        const state = parseCapabilities(each);
        return [hex(state.effective), hex(state.permitted), hex(state.inheritable), formatCapabilities(state)];
      } catch {
        return null;
      }
    });
    const differing = texts
      .map((each, i) => ({ text: each, ours: ours[i], libcap: verdicts[i] }))
      .filter(({ ours, libcap }) => JSON.stringify(ours) !== JSON.stringify(libcap));
    expect(differing).toEqual([]);
    expect(verdicts.filter((verdict) => verdict !== null).length).toBeGreaterThan(500);
  });

  test('on the text of any three sets', () => {
    const states = fc
      .sample(fc.tuple(mask, mask, mask), 300)
      .map(([effective, permitted, inheritable]) => ({ effective, permitted, inheritable }));
    const printed = states.map(formatCapabilities);
    const verdicts = askLibcap(printed);
    expect(verdicts.map((verdict) => verdict?.[3])).toEqual(printed);
    expect(verdicts.map((verdict) => verdict?.slice(0, 3))).toEqual(
      states.map((state) => [hex(state.effective), hex(state.permitted), hex(state.inheritable)]),
    );
  });
});
