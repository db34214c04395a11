import { allocate, check, LINUX_CAPABILITY_VERSION_3, SYS, syscall } from '@ns/libc';
import type { Owner } from './owner.ts';
import type { Steps } from './time-slices.ts';

/* The ids with which this thread appears to file systems, setfsuid(2) and setfsgid(2): what it makes belongs to them. Only
   ever around synchronous work, so that nothing else of this process runs meanwhile; other threads are not concerned. */

/** struct __user_cap_header_struct; pid 0 is the calling thread. */
const header = allocate(8);
header.bytes.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
/** struct __user_cap_data_struct[2]: effective, permitted, inheritable. */
const capabilities = allocate(24);

/** Does something with other file system ids and the same capabilities. */
export function actingAs<T>({ uid, gid }: Owner, act: () => T): T {
  check('capget', syscall(SYS.capget, header.address, capabilities.address));
  const gidBefore = syscall(SYS.setfsgid, gid);
  const uidBefore = syscall(SYS.setfsuid, uid);
  try {
    // Leaving 0 took the capabilities over files from the effective set; they are still permitted.
    check('capset', syscall(SYS.capset, header.address, capabilities.address));
    return act();
  } finally {
    syscall(SYS.setfsuid, uidBefore);
    syscall(SYS.setfsgid, gidBefore);
    check('capset', syscall(SYS.capset, header.address, capabilities.address));
  }
}

/** Each step of some work {@link actingAs}; between them, this thread is who it was. */
export function* stepsAs<T>(owner: Owner, steps: Steps<T>): Steps<T> {
  try {
    for (;;) {
      const step = actingAs(owner, () => steps.next());
      if (step.done) return;
      yield step.value;
    }
  } finally {
    actingAs(owner, () => steps.return());
  }
}
