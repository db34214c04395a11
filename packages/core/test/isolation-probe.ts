import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Baits } from './isolation-baits.ts';

/** What the probe saw, by name of the check. */
export type Observations = Readonly<Record<string, unknown>>;

/** What a check saw, as JSON. */
type Observation =
  | string
  | number
  | boolean
  | undefined
  | readonly Observation[]
  | { readonly [key: string]: Observation };

/** Names of checks, with what must be seen: a value, or a predicate. The first entry that fits a check decides. */
export type Expectations = readonly (readonly [
  check: string | RegExp,
  expected: Observation | ((seen: unknown) => boolean),
])[];

const programs = ['isolation-probe.py', 'isolation-attempts.py'];
const source = programs
  .map((name) => readFileSync(fileURLToPath(new URL(`programs/${name}`, import.meta.url)), 'utf8'))
  .join('\n');

/** How the probe is run. */
export interface ProbeOptions {
  /** Things of the host that it looks for. */
  readonly baits: Baits;
  /** Make attempts too that change the machine where they succeed: not for one that has the host's privileges. Default true. */
  readonly all?: boolean;
}

/** The command that probes the sandbox it runs in. A shell looks at its own signals first: Python changes them. */
export function probeCommand({ baits, all = true }: ProbeOptions): [string, ...string[]] {
  const script = 'exec /usr/bin/python3 -I -c "$1" "$2" "$(cat /proc/self/status)"';
  return ['/bin/sh', '-c', script, 'probe', source, JSON.stringify({ all, baits })];
}

/** Checks whose observation is not what it must be, as readable lines; so are checks nobody has an expectation for. */
export function unexpected(seen: Observations, expectations: Expectations): string[] {
  return Object.entries(seen).flatMap(([check, observation]) => {
    const rule = expectations.find(([name]) => (typeof name === 'string' ? name === check : name.test(check)));
    if (!rule) return [`${check}: ${JSON.stringify(observation)}, and nobody said what is right`];
    const [, expected] = rule;
    const right =
      typeof expected === 'function' ? expected(observation) : JSON.stringify(observation) === JSON.stringify(expected);
    const wanted = typeof expected === 'function' ? expected.name || 'something else' : JSON.stringify(expected);
    return right ? [] : [`${check}: ${JSON.stringify(observation)} instead of ${wanted}`];
  });
}

/** Names of expectations that no check answered to: a probe that ended early must not pass. */
export function unanswered(seen: Observations, expectations: Expectations): string[] {
  const checks = Object.keys(seen);
  return expectations.flatMap(([name]) => (typeof name === 'string' && !checks.includes(name) ? [name] : []));
}

/** One of several outcomes. */
export function oneOf(...outcomes: unknown[]): (seen: unknown) => boolean {
  const accepted = outcomes.map((outcome) => JSON.stringify(outcome));
  const check = (seen: unknown) => accepted.includes(JSON.stringify(seen));
  return Object.defineProperty(check, 'name', { value: `one of ${accepted.join(', ')}` });
}
