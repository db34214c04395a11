import { text } from 'node:stream/consumers';
import { type Exit, type Launched, type LaunchOptions, launch } from '../src/index.ts';

/** What a launch came to. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: Exit;
}

/** Waits for the end of a launched process and reads what it wrote. */
export async function outcome(launched: Launched): Promise<Outcome> {
  const [stdout, stderr, exit] = await Promise.all([
    launched.stdout ? text(launched.stdout) : '',
    launched.stderr ? text(launched.stderr) : '',
    launched.exited,
  ]);
  return { stdout, stderr, exit };
}

/** Launches and waits for the end. */
export function run(options: LaunchOptions): Promise<Outcome> {
  return outcome(launch(options));
}
