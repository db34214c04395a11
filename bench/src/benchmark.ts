/** A column of a {@link Table}. */
export interface Column {
  readonly label: string;
  /** How many decimals figures are shown with; the JSON keeps them all. Default 2. */
  readonly decimals?: number;
}

/** Rows of figures. A cell that is undefined could not be measured; a note says why. */
export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly (string | number | undefined)[])[];
}

/** A bar that was set beforehand, and where we are. */
export interface Target {
  readonly what: string;
  readonly limit: number;
  readonly measured: number;
}

/** What a benchmark found. */
export interface Findings {
  readonly tables: readonly Table[];
  readonly targets?: readonly Target[];
  /** What a reader has to know: what was left out and why, how to read a column. */
  readonly notes?: readonly string[];
}

/**
 * One benchmark. `bench/src/NAME.ts` exports one as `benchmark`; `npm run bench -- NAME` runs it.
 *
 * Measures in alternation whatever it compares, leaves nothing behind, and prints nothing: its findings are written to
 * `bench/results` and rendered from there.
 */
export interface Benchmark {
  readonly title: string;
  run(): Promise<Findings>;
}
