// What becomes of a zygote whose owner gives up privileges: node less-privileged.js <what>. Prints one line of JSON.
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { allocate, open, SOCK, SYS, socketPair, syscall } from '@ns/libc';
import { processEntries } from '@ns/testing';
import { launch } from '../../src/index.ts';
import { inheritedState } from '../../src/inherited-state.ts';
import { receiveRecord } from '../../src/receive-record.ts';
import { Zygote } from '../../src/zygote.ts';
import { monitoredPlan } from '../plans.ts';

const NOBODY = 65534;
const RLIMIT_NPROC = 6;
const zygotes = () => processEntries().filter(({ parent, name }) => parent === process.pid && name === 'ns-zygote');
const uidOf = (pid: number) => Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);

async function run(...argv: string[]) {
  const launched = launch({ steps: monitoredPlan(argv) });
  const [output, exit] = await Promise.all([text(launched.stdout!), launched.exited]);
  launched.stderr!.destroy();
  return { output: output.trim(), exitCode: exit.exitCode, failure: exit.failure?.code };
}

function becomeNobody(): void {
  process.setgroups!([]);
  process.setgid!(NOBODY);
  process.setuid!(NOBODY);
}

/** As `prlimit --nproc=0 --pid`. */
function forbidProcesses(pid: number): number {
  const limit = allocate(16);
  return syscall(SYS.prlimit64, pid, RLIMIT_NPROC, limit.address, 0);
}

const behaviours = {
  /** The next start is one of the new user's. */
  async launches() {
    await run('true');
    await run('true');
    const [before] = zygotes();
    becomeNobody();
    const { output } = await run('id', '-u');
    await run('true');
    const [after] = zygotes();
    return { output, before: before !== undefined, after: after && uidOf(after.pid), same: before?.pid === after?.pid };
  },

  /** Who has its socket and not its privileges is not served. */
  async asks() {
    const zygote = new Zygote(inheritedState()!);
    becomeNobody();
    const [status, theirs] = socketPair(SOCK.SEQPACKET);
    const program = open('/dev/zero', 0);
    const result = zygote.request([program.fd, program.fd, program.fd, program.fd, theirs.fd], 4);
    theirs.close();
    for (;;) {
      const record = receiveRecord(status.fd);
      if (record) return { result, record };
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },

  /** It cannot make a process: then we do. Neither can we: then that is the reason. */
  async isLimited() {
    becomeNobody();
    await run('true');
    await run('true');
    const [zygote] = zygotes();
    const limited = forbidProcesses(zygote!.pid);
    const first = await run('echo', 'made');
    forbidProcesses(0);
    const second = await run('echo', 'made');
    return { limited, first, second };
  },
};

const what = process.argv[2] as keyof typeof behaviours;
process.stdout.write(`${JSON.stringify(await behaviours[what]())}\n`);
