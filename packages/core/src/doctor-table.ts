import { release } from 'node:os';
import type { Capability } from './probe/capability.ts';
import { type Capabilities, type Feature, featureTrials } from './probe.ts';

/** Without these no container starts. */
const required: ReadonlySet<string> = new Set<Feature>([
  'stage',
  'memfdExec',
  'pidfd',
  'mountNamespace',
  'pidNamespace',
  'networkNamespace',
  'utsNamespace',
  'ipcNamespace',
  'mountApi',
  'overlay',
  'seccompFilter',
]);

/** An ordinary user's go without a cgroup where they have no limits; root's are found and ended by theirs. */
const isRequired = (feature: string) => required.has(feature) || (feature === 'cgroups' && process.geteuid!() === 0);

/** Puts text into a colour of `util.styleText`, or leaves it as it is. */
export type Paint = (style: 'bold' | 'green' | 'red' | 'yellow', text: string) => string;

/** What containers need and this machine lacks. */
export function missingFeatures(capabilities: Capabilities): string[] {
  return Object.entries(capabilities).flatMap(([feature, { ok }]) => (!ok && isRequired(feature) ? [feature] : []));
}

/**
 * What `doctor` prints: a line per feature, and below what does not work, what would help. Of a subject, what fails for the
 * same reason stands together, and the reason stands at the first. What would help several in a row is said once.
 */
export function doctorTable(capabilities: Capabilities, paint: Paint): string {
  const width = Math.max(...Object.keys(capabilities).map((name) => name.length)) + 2;
  const subjects = Object.entries(featureTrials).flatMap(([subject, trials]) => [
    '',
    paint('bold', subject),
    ...adviseOnce(
      byReason(Object.keys(trials).map((feature) => ({ feature, ...capabilities[feature as Feature] }))),
    ).flatMap((entry) => rows(entry, width, paint)),
  ]);
  const missing = missingFeatures(capabilities);
  const verdict = missing.length === 0 ? 'Containers can run here.' : `Containers need: ${missing.join(', ')}.`;
  return [`Linux ${release()}, Node ${process.version}, uid ${process.geteuid!()}`, ...subjects, '', verdict, ''].join(
    '\n',
  );
}

interface Entry extends Capability {
  readonly feature: string;
}

function byReason(entries: readonly Entry[]): Entry[] {
  const firstLike = (entry: Entry) =>
    entry.ok ? entry : entries.find(({ ok, why, fix }) => !ok && why === entry.why && fix === entry.fix)!;
  return entries
    .toSorted((a, b) => entries.indexOf(firstLike(a)) - entries.indexOf(firstLike(b)))
    .map((entry) => (firstLike(entry) === entry ? entry : { feature: entry.feature, ok: false, why: 'as above' }));
}

function adviseOnce(entries: readonly Entry[]): Entry[] {
  let last: string | undefined;
  return entries.map(({ fix, ...entry }) => {
    if (fix === undefined) return entry;
    const known = fix === last;
    last = fix;
    return { ...entry, fix: known ? 'as above' : fix };
  });
}

function rows({ feature, ok, detail, why, fix }: Entry, width: number, paint: Paint): string[] {
  const mark = ok ? paint('green', 'yes') : isRequired(feature) ? paint('red', 'NO ') : paint('yellow', 'no ');
  const row = `  ${mark}  ${feature.padEnd(width)}${(ok ? detail : why) ?? ''}`.trimEnd();
  const indent = ' '.repeat('  yes  '.length + width);
  return [row, ...(fix?.split('\n').map((line) => `${indent}${line}`) ?? [])];
}
