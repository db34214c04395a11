import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { pipe, ResourceStack } from '@ns/libc';

/**
 * What CRIU calls when all of a container is written and its processes are still held: that is the moment to write down
 * its files, and the last one to say no. CRIU closes what it inherits, so the script finds our pipes by our pid; when we are
 * gone, it says no for us.
 */
export class DumpHook implements Disposable {
  /** Why the answer was no, if it was. */
  refusal: { readonly error: unknown } | undefined;
  readonly #held = new ResourceStack();

  /**
   * @param path - where the script is put
   * @param whileHeld - done before CRIU goes on; when it fails, CRIU lets the container live
   */
  constructor(path: string, whileHeld: () => Promise<void>) {
    const question = pipe();
    const answer = pipe();
    for (const { read, write } of [question, answer]) {
      this.#held.use(read);
      this.#held.use(write);
    }
    const fd = (number: number) => `/proc/${process.pid}/fd/${number}`;
    const script = `#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
echo dumped >${fd(question.write.fd)} && read -r answer <${fd(answer.read.fd)} && [ "$answer" = done ]
`;
    writeFileSync(path, script, { mode: 0o700 });
    const asked = new Socket({ fd: question.read.release(), readable: true, writable: false });
    this.#held.defer(() => asked.destroy());
    asked.once('data', async () => {
      const say = (word: string) => writeFileSync(answer.write.fd, `${word}\n`);
      try {
        await whileHeld();
        say('done');
      } catch (error) {
        this.refusal = { error };
        say('failed');
      }
    });
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
