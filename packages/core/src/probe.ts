import { type Patience, patiently } from './patience.ts';
import { type Capability, type Trials, tryFeature } from './probe/capability.ts';
import { type CgroupFeature, cgroupTrials } from './probe/cgroups.ts';
import { type FileSystemFeature, fileSystemTrials } from './probe/file-systems.ts';
import { type NamespaceFeature, namespaceTrials } from './probe/namespaces.ts';
import { type NetworkFeature, networkTrials } from './probe/networks.ts';
import { type ProcessFeature, processTrials } from './probe/processes.ts';
import { type ProgramFeature, programTrials } from './probe/programs.ts';
import { type SecurityFeature, securityTrials } from './probe/security.ts';
import { checkCall } from './validate-calls.ts';

/** A feature that {@link probe} tries. */
export type Feature =
  | ProcessFeature
  | NamespaceFeature
  | FileSystemFeature
  | CgroupFeature
  | SecurityFeature
  | NetworkFeature
  | ProgramFeature;

/** What {@link probe} found, by feature. */
export type Capabilities = Readonly<Record<Feature, Capability>>;

/** Features by subject, in the order in which they are worth reading. */
export const featureTrials: Readonly<Record<string, Trials<string>>> = {
  processes: processTrials,
  namespaces: namespaceTrials,
  'file systems': fileSystemTrials,
  cgroups: cgroupTrials,
  security: securityTrials,
  networks: networkTrials,
  programs: programTrials,
};

/**
 * What works here, for this user: each feature is tried, not guessed from a version. What does not work says why, and
 * what would make it work. Nothing is left behind; nothing is changed outside of cgroups, namespaces and processes made
 * for the purpose. Takes some tenths of a second; rejects only for who loses patience.
 *
 * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
 *
 * @example
 * ```ts
 * const { overlayInUserNamespace, memoryController } = await probe();
 * if (!memoryController.ok) console.error(memoryController.why, memoryController.fix);
 * ```
 */
export async function probe(patience: Patience = {}): Promise<Capabilities> {
  return patiently('probing', checkCall('patience', patience), tryAll);
}

async function tryAll(): Promise<Capabilities> {
  const trials = Object.values(featureTrials).flatMap((subject) => Object.entries(subject));
  const found = await Promise.all(trials.map(async ([feature, trial]) => [feature, await tryFeature(trial)] as const));
  return Object.fromEntries(found) as Capabilities;
}
