import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { NsError, SpecError } from '@ns/libc';
import type { HealthMonitor } from '../health.ts';
import { describeEnd, hintForEnd, outputTells } from '../how-it-ended.ts';
import type { LogBuffer } from '../log-buffer.ts';
import type { Result } from '../result.ts';
import { askPage } from './ask-page.ts';
import { listeningSockets } from './listening-sockets.ts';
import { describeCondition, type WaitCondition } from './wait.ts';

/** What conditions look at. */
export interface WaitSubject {
  readonly pid: number;
  readonly logs: LogBuffer;
  /** Output from before is not this start's. */
  readonly startedAt: number;
  readonly ended: Promise<Result>;
  readonly health: HealthMonitor | undefined;
}

/** A container that did not get ready. Codes `ERR_NS_WAIT_TIMEOUT`, `ERR_NS_WAIT_FAILED`. The message has its last output. */
export class WaitError extends NsError {
  /** What did not hold, in words. */
  readonly condition: string;
  /** The end of what the container wrote. */
  readonly output: string;
  /** What to do next. In the message it stands before what the container wrote. */
  declare readonly hint: string;

  constructor(
    code: 'ERR_NS_WAIT_TIMEOUT' | 'ERR_NS_WAIT_FAILED',
    what: string,
    condition: WaitCondition,
    { output, hint }: { readonly output: string; readonly hint: string },
  ) {
    const description = describeCondition(condition);
    const written = output.trimEnd() === '' ? 'It wrote nothing' : `It wrote:\n${output.trimEnd()}`;
    super(code, `the container is not ready: ${what}, waiting for ${description}. ${hint}. ${written}`, { hint: '' });
    this.hint = hint;
    this.condition = description;
    this.output = output;
  }
}

const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * Settles when a condition holds.
 *
 * @throws WaitError when it does not in time, or never will
 */
export async function untilReady(condition: WaitCondition, subject: WaitSubject): Promise<void> {
  await hold({ timeout: DEFAULT_TIMEOUT_MS, ...condition }, subject, new AbortController().signal);
}

/** One attempt at a condition: what is passed to each kind. */
interface Attempt<Kind extends WaitCondition['kind'] = WaitCondition['kind']> {
  readonly condition: Extract<WaitCondition, { kind: Kind }>;
  readonly subject: WaitSubject;
  readonly signal: AbortSignal;
  /** The last thing that was seen, for the message. */
  saw(what: string): void;
  /** It will never hold. */
  fail(why: string, hint: string): WaitError;
}

async function hold(condition: WaitCondition, subject: WaitSubject, outer: AbortSignal): Promise<void> {
  const over = new AbortController();
  let seen: string | undefined;
  const fail = (code: 'ERR_NS_WAIT_TIMEOUT' | 'ERR_NS_WAIT_FAILED', what: string, hint: string) =>
    new WaitError(code, what, condition, { output: subject.logs.lastText(), hint });
  const signal = AbortSignal.any([outer, over.signal]);
  const attempt: Attempt = {
    condition,
    subject,
    signal,
    saw: (what) => {
      seen = what;
    },
    fail: (why, hint) => fail('ERR_NS_WAIT_FAILED', why, hint),
  };
  const { timeout } = condition;
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      (conditions[condition.kind] as (attempt: Attempt) => Promise<void>)(attempt),
      new Promise<never>((_, reject) => {
        if (timeout === undefined) return;
        const tooLate = () => {
          const what = `${timeout} ms have passed${seen === undefined ? '' : ` (${seen})`}`;
          reject(fail('ERR_NS_WAIT_TIMEOUT', what, `Raise the timeout${lateHints[condition.kind]}`));
        };
        timer = setTimeout(tooLate, timeout);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

/** What besides the timeout may be wrong. */
const lateHints: Readonly<Record<WaitCondition['kind'], string>> = {
  log: ', or look at the pattern: each line is tried alone',
  port: ', or name a port on which it listens inside, published or not',
  http: ', or say with port, path and status which answer counts',
  health: ', or lower health.interval',
  exit: ', or stop() it',
  all: '',
  any: '',
};

const conditions: { readonly [Kind in WaitCondition['kind']]: (attempt: Attempt<Kind>) => Promise<void> } = {
  log: untilLogged,
  port: (attempt) =>
    whileRunning(attempt, () => {
      const ports = listeningSockets(attempt.subject.pid).map(({ port }) => port);
      attempt.saw(ports.length === 0 ? 'nothing listens' : `it listens on ${[...new Set(ports)].join(', ')}`);
      return ports.includes(attempt.condition.port);
    }),
  http: (attempt) => whileRunning(attempt, () => isAnswered(attempt)),
  async health({ subject, fail }) {
    const { health } = subject;
    if (!health) throw new SpecError('wait', 'a health check in the specification', 'Wait.health() without `health`');
    const verdict = await Promise.race([health.settled, subject.ended]);
    if (verdict === 'healthy') return;
    if (verdict !== 'unhealthy') throw fail(ended(verdict), hintForEarlyEnd(verdict));
    const { lastOutput } = health.state;
    throw fail(
      lastOutput ? `it is unhealthy (${lastOutput})` : 'it is unhealthy; the check wrote nothing',
      'exec() the check to see why, or give it more time with health.startPeriod',
    );
  },
  async exit({ condition: { exitCode = 0 }, subject, fail }) {
    const result = await subject.ended;
    if (result.exitCode !== exitCode) throw fail(ended(result), hintForEnd(result) ?? outputTells);
  },
  async all({ condition, subject, signal }) {
    await Promise.all(condition.conditions.map((inner) => hold(inner, subject, signal)));
  },
  async any({ condition, subject, signal }) {
    try {
      await Promise.any(condition.conditions.map((inner) => hold(inner, subject, signal)));
    } catch (error) {
      // The first has as good a reason as any.
      throw (error as AggregateError).errors[0];
    }
  },
};

async function untilLogged({ condition, subject, signal, fail }: Attempt<'log'>): Promise<void> {
  const { pattern, times = 1, stream: wanted } = condition;
  // Without these flags: their memory of the last match would skip every other line.
  const expression = typeof pattern === 'string' ? undefined : new RegExp(pattern, pattern.flags.replace(/[gy]/g, ''));
  const matches = (line: string) => expression?.test(line) ?? line.includes(pattern as string);
  const decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  const unfinished = { stdout: '', stderr: '' };
  let found = 0;
  for await (const { stream, data } of subject.logs.read({ follow: true, since: subject.startedAt, signal })) {
    if (wanted !== undefined && stream !== wanted) continue;
    const lines = (unfinished[stream] + decoders[stream].write(data)).split('\n');
    unfinished[stream] = lines.pop()!.slice(-MAX_LINE);
    found += lines.filter(matches).length;
    const prompt = unfinished[stream];
    if (found + Number(prompt.length <= MAX_PROMPT && matches(prompt)) >= times) return;
  }
  const untried = Object.values(unfinished).filter((line) => line.length > MAX_PROMPT);
  if (found + untried.filter(matches).length >= times) return;
  const result = await subject.ended;
  throw fail(ended(result), hintForEarlyEnd(result));
}

const MAX_LINE = 64 * 1024;
/** Up to here a line is tried before it ends, at each piece of it: a pattern may take the square of what it is tried on. */
const MAX_PROMPT = 1024;

async function isAnswered({ condition, subject, signal, saw }: Attempt<'http'>): Promise<boolean> {
  const { port = 80, status: wanted, body } = condition;
  const listener = listeningSockets(subject.pid).find((candidate) => candidate.port === port);
  if (!listener) {
    saw(`nothing listens on ${port}`);
    return false;
  }
  try {
    const page = await askPage(subject.pid, listener, condition, signal);
    saw(`it answered ${page.status}`);
    const statuses = typeof wanted === 'number' ? [wanted] : wanted;
    const good = statuses ? statuses.includes(page.status) : page.status >= 200 && page.status < 400;
    const text = body === undefined || (typeof body === 'string' ? page.body.includes(body) : body.test(page.body));
    return good && text;
  } catch (error) {
    // What this process may not do, it will not be able to do later.
    if (error instanceof NsError) throw error;
    saw(`it did not answer: ${(error as Error).message}`);
    return false;
  }
}

/** Asks again and again, ever slower, for as long as the container runs. */
async function whileRunning(
  { subject, signal, fail }: Omit<Attempt, 'condition'>,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  let result: Result | undefined;
  subject.ended.then(
    (end) => {
      result = end;
    },
    () => {},
  );
  for (let pauseMs = 2; !(await holds()); pauseMs = Math.min(pauseMs * 1.5, 100)) {
    if (result) throw fail(ended(result), hintForEarlyEnd(result));
    await delay(pauseMs, undefined, { signal });
  }
}

function ended(result: Result): string {
  return result.reason === 'exit' ? `it has ended with exit code ${result.exitCode}` : `it ${describeEnd(result)}`;
}

function hintForEarlyEnd(result: Result): string {
  return result.exitCode === 0 ? 'Let the program stay in the foreground' : (hintForEnd(result) ?? outputTells);
}
