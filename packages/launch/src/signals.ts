import { constants } from 'node:os';

/** Signal numbers by name. */
export const SIGNALS: Readonly<Record<NodeJS.Signals, number>> = constants.signals;

const names = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals]));
// SIGIOT and SIGPOLL are second names for the same numbers.
names.set(constants.signals.SIGABRT, 'SIGABRT');
names.set(constants.signals.SIGIO, 'SIGIO');

/** The name of a signal number; undefined for real-time signals, which have none. */
export function signalName(number: number): NodeJS.Signals | undefined {
  return names.get(number);
}

/** A control signal to our own caretaker: it is needed no longer. Of several signals the lowest is heard first. */
export const SIGNAL_RETIRE = 49;

/** A control signal to our own monitor, never to the payload: "end the container with SIGKILL". */
export const SIGNAL_KILL_CHILD = 50;

/** Another, passed on to the payload as SIGSTOP: the real one would stop the monitor, and with it the timeout. */
export const SIGNAL_STOP_CHILD = 51;

/** A control signal to our own monitor, sent by the kernel: its caller has died. */
export const SIGNAL_PARENT_DIED = 52;

/** Another: "the program may go on, and its time begins". */
export const SIGNAL_TIME_BEGINS = 54;

/** Signals that would act on a monitor itself go to it under another number. */
export const controlSignals: Partial<Record<NodeJS.Signals, number>> = {
  SIGKILL: SIGNAL_KILL_CHILD,
  SIGSTOP: SIGNAL_STOP_CHILD,
};

/** A control signal to our own monitor, sent by the kernel: its child has executed the program, or is gone. */
export const SIGNAL_EXECUTED = 53;
