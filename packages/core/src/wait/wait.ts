/** When a container counts as ready. Plain data, made by {@link Wait}. */
export type WaitCondition =
  | ({ readonly kind: 'log'; readonly pattern: RegExp | string } & LogCondition)
  | ({ readonly kind: 'port'; readonly port: number } & Timed)
  | ({ readonly kind: 'http'; readonly path: string } & HttpCondition)
  | ({ readonly kind: 'health' } & Timed)
  | ({ readonly kind: 'exit' } & ExitCondition)
  | ({ readonly kind: 'all'; readonly conditions: readonly WaitCondition[] } & Timed)
  | ({ readonly kind: 'any'; readonly conditions: readonly WaitCondition[] } & Timed);

/** How long to wait. */
export interface Timed {
  /** Milliseconds. Default: that of the condition around it; 60,000 for the outermost. */
  readonly timeout?: number;
}

/** Options of {@link Wait.log}. */
export interface LogCondition extends Timed {
  /** In how many lines it must be found. Default 1. */
  readonly times?: number;
  /** Default: either. */
  readonly stream?: 'stdout' | 'stderr';
}

/** Options of {@link Wait.http}. */
export interface HttpCondition extends Timed {
  /** Default 80. */
  readonly port?: number;
  /** Default GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Which answer counts. Default: 200 to 399. */
  readonly status?: number | readonly number[];
  /** Must be found in the first MiB of the answer. */
  readonly body?: RegExp | string;
}

/** Options of {@link Wait.exit}. */
export interface ExitCondition extends Timed {
  /** Default 0. */
  readonly exitCode?: number;
}

/**
 * Conditions for `wait` in a specification: `start()` settles when they hold. Ports and pages are looked for inside the
 * container's network namespace, so nothing needs to be published.
 *
 * @example
 * ```ts
 * await using db = await Container.create({
 *   command: ['postgres', '-D', '/data'],
 *   wait: Wait.all([Wait.log(/ready to accept connections/), Wait.port(5432)], { timeout: 30_000 }),
 * });
 * await db.start();
 * ```
 */
export const Wait: {
  /** A line of the output matches; a text is looked for anywhere in it. A line that is not ended yet counts too. */
  log(pattern: RegExp | string, options?: LogCondition): WaitCondition;
  /** A TCP socket listens on the port, whatever the address. */
  port(port: number, options?: Timed): WaitCondition;
  /**
   * The page is answered, on the address on which the port listens. Needs CAP_SYS_ADMIN on the host; an ordinary user gets
   * an UnavailableError, and has `health` with a command inside.
   */
  http(path: string, options?: HttpCondition): WaitCondition;
  /** The health check has succeeded; needs `health` in the specification. Fails at once when the container is unhealthy. */
  health(options?: Timed): WaitCondition;
  /** The program has ended with this code: for containers that do one thing. */
  exit(options?: ExitCondition): WaitCondition;
  /** All of them hold, in whatever order. Fails as soon as one fails. */
  all(conditions: readonly WaitCondition[], options?: Timed): WaitCondition;
  /** The first that holds is enough; it fails when all have failed. */
  any(conditions: readonly WaitCondition[], options?: Timed): WaitCondition;
} = {
  log: (pattern, options) => ({ ...options, kind: 'log', pattern }),
  port: (port, options) => ({ ...options, kind: 'port', port }),
  http: (path, options) => ({ ...options, kind: 'http', path }),
  health: (options) => ({ ...options, kind: 'health' }),
  exit: (options) => ({ ...options, kind: 'exit' }),
  all: (conditions, options) => ({ ...options, kind: 'all', conditions }),
  any: (conditions, options) => ({ ...options, kind: 'any', conditions }),
};

/** A condition in words, for messages. */
export function describeCondition(condition: WaitCondition): string {
  switch (condition.kind) {
    case 'log':
      return `${condition.times ? `${condition.times} lines` : 'a line'} with ${String(condition.pattern)}`;
    case 'port':
      return `port ${condition.port}`;
    case 'http':
      return `an answer of http://container:${condition.port ?? 80}${condition.path}`;
    case 'health':
      return 'a successful health check';
    case 'exit':
      return `an end with exit code ${condition.exitCode ?? 0}`;
    case 'all':
    case 'any':
      return condition.conditions.map(describeCondition).join(condition.kind === 'all' ? ' and ' : ' or ');
  }
}
