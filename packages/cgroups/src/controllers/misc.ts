import { SpecError } from '@ns/libc';
import { type Driver, integerOrMax, orMax, write } from '../change.ts';

/** Scalar resources of the machine by name (since 5.13), such as `{ sev: 2 }`. See `misc.capacity` of the root. */
export type MiscLimits = Readonly<Record<string, number | 'max'>>;

const count = integerOrMax(0, Number.MAX_SAFE_INTEGER);
type Resources = readonly (readonly [name: string, max: number])[];

const plan = (resources: Resources) =>
  resources.map(([name, max]) => write(`misc.${name}`, 'misc.max', `${name} ${orMax(max)}`));

export const misc: Driver<MiscLimits, Resources> = {
  parse(wanted, field) {
    if (typeof wanted !== 'object' || wanted === null)
      throw new SpecError(field, 'an object of numbers by resource', wanted);
    return Object.entries(wanted).map(([name, max]) => {
      if (!/^\w{1,63}$/.test(name)) throw new SpecError(field, "resource names such as 'sev'", name);
      return [name, count(max, `${field}.${name}`)];
    });
  },
  v2: plan,
  v1: plan,
};
