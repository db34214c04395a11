import { PreparedProgram, type Step } from '@ns/launch';

/* Pools and exec run the same command again and again, and nobody waits for anything else then than for it to be told. */

const KEPT_COMMANDS = 16;
const LONGEST_KEY = 2 ** 14;

/** Programs of the commands that were run in sandboxes of one kind, or in one container: each differs in a text from the next. */
export class RecentCommands {
  /** The command that was run last, as whoever runs it says it. */
  latest: { readonly argv: readonly string[]; readonly program: PreparedProgram } | undefined;
  /** By what they were made of, the latest last; `undefined` for a command that was seen once. */
  readonly #programs = new Map<string, PreparedProgram | undefined>();

  /** The program of a command that came more than once. */
  known(key: string): PreparedProgram | undefined {
    return this.#programs.get(key);
  }

  /**
   * What a command's process is told to do: assembled once when it is not the first of its kind.
   *
   * @param key - says all that the steps are made of, but for the variable
   * @param variable - the text in which one differs from the next
   * @param fds - names of descriptors that the steps refer to
   */
  stepsOf(
    key: string,
    variable: string,
    makeSteps: () => readonly Step[],
    fds: readonly string[] = [],
  ): readonly Step[] | PreparedProgram {
    // A command that has the text in it is no other's.
    if (key.length > LONGEST_KEY || key.includes(variable)) return makeSteps();
    const seen = this.#programs.has(key);
    const steps =
      this.#programs.get(key) ??
      (seen ? new PreparedProgram(makeSteps(), { variables: [variable], fds }) : makeSteps());
    this.#programs.delete(key);
    this.#programs.set(key, steps instanceof PreparedProgram ? steps : undefined);
    if (this.#programs.size > KEPT_COMMANDS) this.#programs.delete(this.#programs.keys().next().value!);
    return steps;
  }
}

const KEPT_KINDS = 8;
const kinds = new Map<string, RecentCommands>();

/**
 * Those of all sandboxes with one environment.
 *
 * @param env - `NAME=value`
 * @param variable - the text in it by which sandboxes differ
 */
export function recentCommandsOf(env: readonly string[], variable: string): RecentCommands {
  const kind = JSON.stringify(env.map((entry) => entry.replaceAll(variable, '\0')));
  const known = kinds.get(kind) ?? new RecentCommands();
  kinds.delete(kind);
  kinds.set(kind, known);
  if (kinds.size > KEPT_KINDS) kinds.delete(kinds.keys().next().value!);
  return known;
}
