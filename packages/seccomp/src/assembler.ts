import { SpecError } from '@ns/libc';

/** Instruction codes of classic BPF that seccomp accepts and this compiler uses, `<linux/bpf_common.h>`. */
export const BPF = {
  LD_W_ABS: 0x20,
  AND_K: 0x54,
  JA: 0x05,
  JEQ_K: 0x15,
  JGT_K: 0x25,
  JGE_K: 0x35,
  JSET_K: 0x45,
  RET_K: 0x06,
} as const;

/** The kernel's limit for one filter, `<linux/bpf_common.h>`. */
export const BPF_MAXINSNS = 4096;

/** sizeof(struct sock_filter): u16 code, u8 jt, u8 jf, u32 k. */
export const INSTRUCTION_SIZE = 8;

/** An instruction that can be jumped to: its distance from the end of the program. */
export type Label = number;

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/**
 * Builds a program from its end. BPF only jumps forward, so when an instruction is made everything it leads to is
 * already there: no second pass, every distance known at once. The same instruction with the same targets is made
 * once and shared, which turns the decision tree into a graph.
 *
 * Every method throws SpecError when the program gets longer than the kernel takes.
 */
export class Assembler {
  readonly #reversed: Instruction[] = [];
  readonly #shared = new Map<string, Label>();
  readonly #verdicts = new Map<number, Label>();
  readonly #relays = new Map<Label, Label>();

  /** Ends the filter with a verdict. */
  ret(value: number): Label {
    const known = this.#verdicts.get(value);
    if (known !== undefined) return known;
    const label = this.#push(BPF.RET_K, 0, 0, value);
    this.#verdicts.set(value, label);
    return label;
  }

  /** Loads a word of `struct seccomp_data`, goes on at `next`. */
  load(offset: number, next: Label): Label {
    return this.#share(`load ${offset} ${next}`, () => this.#straight(BPF.LD_W_ABS, offset, next));
  }

  /** Masks the loaded word, goes on at `next`. */
  and(mask: number, next: Label): Label {
    return this.#share(`and ${mask} ${next}`, () => this.#straight(BPF.AND_K, mask, next));
  }

  /** Compares the loaded word with `k`. */
  jump(code: number, k: number, whenTrue: Label, whenFalse: Label): Label {
    if (whenTrue === whenFalse) return whenTrue;
    return this.#share(`jump ${code} ${k} ${whenTrue} ${whenFalse}`, () => {
      // Offsets have 8 bits. Bringing one target nearer moves the other away, so the farther one is looked at last.
      const near = this.#within(Math.max(whenTrue, whenFalse), 254);
      const far = this.#within(Math.min(whenTrue, whenFalse), 255);
      const [t, f] = whenTrue > whenFalse ? [near, far] : [far, near];
      return this.#push(code, this.#distance(t), this.#distance(f), k);
    });
  }

  /** The program, entered at `start`. */
  finish(start: Label, options: { bigEndian: boolean }): Buffer {
    if (start !== this.#reversed.length - 1) this.#push(BPF.JA, 0, 0, this.#distance(start));
    const count = this.#reversed.length;
    const bytes = Buffer.from(new ArrayBuffer(count * INSTRUCTION_SIZE));
    const view = new DataView(bytes.buffer);
    for (const [distance, { code, jt, jf, k }] of this.#reversed.entries()) {
      const at = (count - 1 - distance) * INSTRUCTION_SIZE;
      view.setUint16(at, code, !options.bigEndian);
      view.setUint8(at + 2, jt);
      view.setUint8(at + 3, jf);
      view.setUint32(at + 4, k, !options.bigEndian);
    }
    return bytes;
  }

  #share(key: string, make: () => Label): Label {
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const label = make();
    this.#shared.set(key, label);
    return label;
  }

  #straight(code: number, k: number, next: Label): Label {
    if (this.#distance(next) > 0) this.#push(BPF.JA, 0, 0, this.#distance(next));
    return this.#push(code, 0, 0, k);
  }

  /** `label`, or a copy or relay of it that lies within `reach`. */
  #within(label: Label, reach: number): Label {
    const latest = this.#relays.get(label) ?? label;
    if (this.#distance(latest) <= reach) return latest;
    const target = this.#reversed[label]!;
    // A second verdict costs as much room as a relay, and no step at run time.
    const relay =
      target.code === BPF.RET_K
        ? this.#push(BPF.RET_K, 0, 0, target.k)
        : this.#push(BPF.JA, 0, 0, this.#distance(label));
    this.#relays.set(label, relay);
    return relay;
  }

  /** Instructions between the next one to be made and `label`. */
  #distance(label: Label): number {
    return this.#reversed.length - label - 1;
  }

  #push(code: number, jt: number, jf: number, k: number): Label {
    // Checked here, so that a hostile profile ends early.
    if (this.#reversed.length === BPF_MAXINSNS) {
      throw new SpecError('seccomp.syscalls', `rules that fit into ${BPF_MAXINSNS} BPF instructions`, 'more');
    }
    return this.#reversed.push({ code, jt, jf, k: k >>> 0 }) - 1;
  }
}
