import type { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import { NsError, onlyKnownKeys, SpecError, UnavailableError } from '@ns/libc';
import { integer } from './change.ts';
import { type CgroupHost, detectCgroups } from './host.ts';

/** How a scope is asked for. */
export interface DelegatedScopeOptions {
  /** Unit name. Default `ns-PID.scope`. */
  readonly unit?: string;
  /** Processes that move into the scope. Default: this one. */
  readonly pids?: readonly number[];
  /** Default: the system's bus for root, else the user's. */
  readonly busAddress?: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

/** A scope that systemd leaves to us (`Delegate=yes`). It ends with its last process. */
export interface DelegatedScope {
  readonly unit: string;
  /** The machine as seen from inside the scope, for {@link Cgroup.create} with `parent: 'own'`. */
  readonly host: CgroupHost;
}

const systemd = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
};
const busDaemon = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};

/** What does the same by hand. */
const byHand =
  process.geteuid?.() === 0
    ? 'systemd-run --scope -p Delegate=yes -- COMMAND'
    : 'systemd-run --user --scope -p Delegate=yes -- COMMAND';

/**
 * Asks systemd, over D-Bus, for a transient scope with `Delegate=yes` and moves this process into it: the way for an
 * ordinary user to get a part of the cgroup tree (cgroup v2, systemd 244). Imports the D-Bus library when called.
 *
 * @throws UnavailableError without systemd or a bus, with the command that does the same by hand
 * @throws NsError `ERR_NS_CGROUP_SCOPE` when systemd refuses
 */
export async function createDelegatedScope(options: DelegatedScopeOptions = {}): Promise<DelegatedScope> {
  onlyKnownKeys(options, ['unit', 'pids', 'busAddress', 'timeoutMs'], 'scope');
  const { unit = `ns-${process.pid}.scope`, pids = [process.pid], timeoutMs = 10_000 } = options;
  if (!/^[\w:.-]{1,240}\.scope$/.test(unit))
    throw new SpecError('scope.unit', "a unit name such as 'ns-42.scope'", unit);
  if (!Array.isArray(pids) || pids.length === 0) throw new SpecError('scope.pids', 'an array of process ids', pids);
  for (const [index, pid] of pids.entries()) integer(1, 2 ** 22)(pid, `scope.pids[${index}]`);
  integer(1, 2 ** 31 - 1)(timeoutMs, 'scope.timeoutMs');
  const address = options.busAddress ?? defaultAddress();
  const { Message, sessionBus, Variant } = await import('@jellybrick/dbus-next');
  const bus = sessionBus({ busAddress: address });
  const failed = new Promise<never>((_, reject) => {
    // The library's types leave its 'error' event out.
    (bus as EventEmitter).on('error', (cause: Error) => reject(noBus(address, cause)));
    setTimeout(() => reject(refused(unit, `no answer within ${timeoutMs} ms`)), timeoutMs).unref();
  });
  const finished = new Promise<string>((resolve) => {
    bus.on('message', ({ member, body }: { member: string; body: unknown[] }) => {
      if (member === 'JobRemoved' && body[2] === unit) resolve(String(body[3]));
    });
  });
  const start = async (): Promise<string> => {
    const match = `type='signal',interface='${systemd.interface}',member='JobRemoved'`;
    await bus.call(new Message({ ...busDaemon, member: 'AddMatch', signature: 's', body: [match] }));
    await bus.call(new Message({ ...systemd, member: 'Subscribe' }));
    const properties = [
      ['Description', new Variant('s', `Containers of process ${process.pid}`)],
      ['Delegate', new Variant('b', true)],
      ['CollectMode', new Variant('s', 'inactive-or-failed')],
      ['PIDs', new Variant('au', [...pids])],
    ];
    const body = [unit, 'fail', properties, []];
    await bus.call(new Message({ ...systemd, member: 'StartTransientUnit', signature: 'ssa(sv)a(sa(sv))', body }));
    return finished;
  };
  try {
    const result = await Promise.race([start(), failed]);
    if (result !== 'done') throw refused(unit, `the job ended as ${result}`);
  } catch (error) {
    throw error instanceof NsError
      ? error
      : refused(unit, error instanceof Error ? error.message : String(error), error);
  } finally {
    bus.disconnect();
  }
  return { unit, host: detectCgroups({ fresh: true }) };
}

function defaultAddress(): string {
  const { env } = process;
  const candidates =
    process.geteuid?.() === 0
      ? [env.DBUS_SYSTEM_BUS_ADDRESS, socket('/run/dbus/system_bus_socket')]
      : [env.DBUS_SESSION_BUS_ADDRESS, socket(`${env.XDG_RUNTIME_DIR ?? `/run/user/${process.getuid?.()}`}/bus`)];
  const address = candidates.find((candidate) => candidate !== undefined);
  if (address !== undefined) return address;
  throw new UnavailableError('a delegated systemd scope', 'there is no D-Bus socket', `Where systemd runs: ${byHand}`);
}

function socket(path: string): string | undefined {
  return existsSync(path) ? `unix:path=${path}` : undefined;
}

function noBus(address: string, cause: Error): UnavailableError {
  return new UnavailableError(
    'a delegated systemd scope',
    `D-Bus at ${address} does not answer: ${cause.message}`,
    `Where systemd runs: ${byHand}`,
  );
}

function refused(unit: string, why: string, cause?: unknown): NsError {
  return new NsError('ERR_NS_CGROUP_SCOPE', `systemd did not start ${unit}: ${why}`, {
    hint: `By hand: ${byHand}`,
    cause,
  });
}
