import { addressOf, cString, SYS, syscall } from '@ns/libc';
import { type NsError, run } from '../../src/index.ts';

/* An ordinary user whose quota of keys is used up. Prints one JSON object. */

const USER_KEYRING = -4; // <linux/keyctl.h>
const secret = Buffer.from('secret');
const type = cString('user');
let keys = 0;
for (let added = 0; added >= 0; keys++) {
  const name = cString(`ns-test-${keys}`);
  added = syscall(SYS.add_key, type.address, name.address, addressOf(secret), secret.length, USER_KEYRING);
}

const refusal = await run('true', [], { seccomp: 'unconfined' }).catch((error: unknown) => {
  const { cause, hint } = error as NsError;
  return { cause: (cause as NsError).code, hint };
});
const { exitCode } = await run('true');
const inside = await run('cat', ['/proc/self/status']);
process.stdout.write(
  JSON.stringify({ keys, refusal, exitCode, seccomp: /^Seccomp:\s*(\d)/m.exec(inside.stdout)?.[1] }),
);
