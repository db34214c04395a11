import { allocate, SYS, syscall, WNOHANG } from '@ns/libc';
import { childEndAddress, forgetChild } from './child-table.ts';
import { happensAtOnce } from './happens-at-once.ts';
import { decodeUsage, type ResourceUsage } from './records.ts';

/** How a child ended: its wait status, and what it used with all that it has waited for. */
export interface ChildEnd {
  readonly status: number;
  readonly usage: ResourceUsage;
}

/** A child of this process, to be waited for by nobody else: until it is reaped, its pid is its own. */
export class ReapedChild {
  readonly pid: number;
  #end: ChildEnd | undefined;

  /** @param end - of one that there never was, whose pid is 0 */
  constructor(pid: number, end?: ChildEnd) {
    this.pid = pid;
    this.#end = end;
  }

  /** undefined until it was reaped. */
  get end(): ChildEnd | undefined {
    return this.#end;
  }

  /** Reaps it if it has ended; asks the kernel, which knows before anybody has heard of it. */
  hasEnded(): boolean {
    if (this.#end) return true;
    const { bytes, address } = waitResult;
    const result = syscall(SYS.wait4, this.pid, childEndAddress(this.pid) ?? address, WNOHANG, address + 8);
    if (result > 0)
      this.#end = { status: forgetChild(this.pid) ?? bytes.readInt32LE(0), usage: decodeUsage(bytes.subarray(8)) };
    return result !== 0;
  }

  /** The same for one that has said its last word. */
  endsAtOnce(): boolean {
    return happensAtOnce(() => this.hasEnded());
  }
}

/** A wait status and a struct rusage. */
const waitResult = allocate(8 + 144);
