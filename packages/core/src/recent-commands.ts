import { PreparedProgram, type Step } from '@ns/launch';

/* Pools run the same command again and again, and nobody waits for anything else then than for it to be told. */

const KEPT_COMMANDS = 16;
const LONGEST_KEY = 2 ** 14;
/** By what they were made of, the latest last; `undefined` for a command that was seen once. */
const recentCommands = new Map<string, PreparedProgram | undefined>();

/**
 * What a command's process is told to do: assembled once when it is not the first of its kind.
 *
 * @param parts - all that the steps are made of: texts
 */
export function stepsOfCommand(parts: unknown, makeSteps: () => readonly Step[]): readonly Step[] | PreparedProgram {
  const key = JSON.stringify(parts);
  if (key.length > LONGEST_KEY) return makeSteps();
  const seen = recentCommands.has(key);
  const known = recentCommands.get(key);
  const steps = known ?? (seen ? new PreparedProgram(makeSteps()) : makeSteps());
  recentCommands.delete(key);
  recentCommands.set(key, steps instanceof PreparedProgram ? steps : undefined);
  if (recentCommands.size > KEPT_COMMANDS) recentCommands.delete(recentCommands.keys().next().value!);
  return steps;
}
