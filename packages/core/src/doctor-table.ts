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

/** Puts text into a colour of `util.styleText`, or leaves it as it is. */
export type Paint = (style: 'bold' | 'green' | 'red' | 'yellow', text: string) => string;

/** What containers need and this machine lacks. */
export function missingFeatures(capabilities: Capabilities): string[] {
  return Object.entries(capabilities).flatMap(([feature, { ok }]) => (!ok && required.has(feature) ? [feature] : []));
}

/** What `doctor` prints: a line per feature, and below what does not work, what would help. */
export function doctorTable(capabilities: Capabilities, paint: Paint): string {
  const width = Math.max(...Object.keys(capabilities).map((name) => name.length)) + 2;
  const subjects = Object.entries(featureTrials).flatMap(([subject, trials]) => [
    '',
    paint('bold', subject),
    ...Object.keys(trials).flatMap((feature) => rows(feature, capabilities[feature as Feature], width, paint)),
  ]);
  const missing = missingFeatures(capabilities);
  const verdict = missing.length === 0 ? 'Containers can run here.' : `Containers need: ${missing.join(', ')}.`;
  return [`Linux ${release()}, Node ${process.version}, uid ${process.geteuid!()}`, ...subjects, '', verdict, ''].join(
    '\n',
  );
}

function rows(feature: string, { ok, detail, why, fix }: Capability, width: number, paint: Paint): string[] {
  const mark = ok ? paint('green', 'yes') : required.has(feature) ? paint('red', 'NO ') : paint('yellow', 'no ');
  const row = `  ${mark}  ${feature.padEnd(width)}${(ok ? detail : why) ?? ''}`.trimEnd();
  const indent = ' '.repeat('  yes  '.length + width);
  return [row, ...(fix?.split('\n').map((line) => `${indent}${line}`) ?? [])];
}
