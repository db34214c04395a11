import { signalName } from './signals.ts';

/** exit code and signal of a wait status: wait(2). */
export function decodeWaitStatus(status: number): { exitCode: number | null; signal: NodeJS.Signals | null } {
  const signal = status & 0x7f;
  return signal === 0
    ? { exitCode: (status >> 8) & 0xff, signal: null }
    : { exitCode: null, signal: signalName(signal) ?? (`SIG${signal}` as NodeJS.Signals) };
}
