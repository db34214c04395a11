import { NsError } from '@ns/libc';

/** Whether something works on this machine, for this user. */
export interface Capability {
  readonly ok: boolean;
  /** What was found: a version, a mode, a path. */
  readonly detail?: string;
  /** Why it does not work. */
  readonly why?: string;
  /** What would make it work. */
  readonly fix?: string;
}

/** Tries a feature and undoes what it did. May return a detail worth showing; throws when the feature does not work. */
// biome-ignore lint/suspicious/noConfusingVoidType: a trial without a detail returns nothing
export type Trial = () => string | void | Promise<string | void>;

/** A table of trials, one per feature. */
export type Trials<Feature extends string> = Readonly<Record<Feature, Trial>>;

/** Why a feature does not work, and what to do about it. */
export class Lacking extends NsError {
  constructor(why: string, fix: string) {
    super('ERR_NS_UNAVAILABLE', why, { hint: fix });
  }
}

/** Runs one trial. Never rejects. */
export async function tryFeature(trial: Trial): Promise<Capability> {
  try {
    const detail = await trial();
    return { ok: true, ...(typeof detail === 'string' && { detail }) };
  } catch (error) {
    return describeLack(error);
  }
}

function describeLack(error: unknown): Capability {
  if (!(error instanceof NsError)) return { ok: false, why: error instanceof Error ? error.message : String(error) };
  const { message, hint } = error;
  if (hint === undefined) return { ok: false, why: message };
  // The message of an error ends with its hint, which has a place of its own here.
  return { ok: false, why: message.slice(0, -`. ${hint}`.length), fix: hint };
}
