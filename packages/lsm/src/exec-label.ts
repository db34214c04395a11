/**
 * What a process writes to switch label at its next execve(2). It is also the rest of an `execLabel` step of
 * `@ns/launch`: `{ op: 'execLabel', ...label }`.
 */
export interface ExecLabel {
  /** The attribute file, in the procfs of the process itself: it works for no other. */
  readonly file: string;
  /** What is written, with one write(2). */
  readonly label: string;
}
