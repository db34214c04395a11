import { type Driver, integerOrMax, orMax, type Parsed, parseFields, write } from '../change.ts';

/** Limits of the pids controller: the answer to fork bombs. */
export interface PidsLimits {
  /** Processes and threads, or `'max'`. */
  max?: number | 'max';
}

// pids.max takes any number below PID_MAX_LIMIT, 4 Mi on 64 bit.
const fields = { max: integerOrMax(0, 4 * 1024 * 1024 - 1) };

const plan = ({ max }: Parsed<typeof fields>) => (max === undefined ? [] : [write('pids.max', 'pids.max', orMax(max))]);

export const pids: Driver<PidsLimits, Parsed<typeof fields>> = {
  parse: (wanted, field) => parseFields(fields, wanted, field),
  v2: plan,
  v1: plan,
};
