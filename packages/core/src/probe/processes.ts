import { accessSync, constants, readFileSync } from 'node:fs';
import { CLONE, memfd, NsError, pidfdOpen, pidfdSendSignal, setns } from '@ns/libc';
import { attempt } from './attempt.ts';
import type { Trials } from './capability.ts';

/** What starting and watching processes rests on. */
export type ProcessFeature = 'stage' | 'memfdExec' | 'pidfd' | 'joinByPidfd' | 'pressure';

export const processTrials: Trials<ProcessFeature> = {
  stage: () => attempt([{ op: 'newSession' }]),
  memfdExec() {
    using file = memfd('ns-probe', Buffer.from('#!/bin/true\n'), { executable: true });
    accessSync(file.procPath, constants.X_OK);
  },
  pidfd() {
    using self = pidfdOpen(process.pid);
    pidfdSendSignal(self.fd, 0);
  },
  joinByPidfd() {
    using self = pidfdOpen(process.pid);
    try {
      // Into the namespace we are in: before 5.8 that is EINVAL.
      setns(self.fd, CLONE.NEWUTS);
    } catch (error) {
      // Understood, but not allowed from here: in a user namespace of the container's it will be.
      if (!(error instanceof NsError && error.code === 'EPERM')) throw error;
    }
  },
  pressure() {
    // EOPNOTSUPP where the kernel was started with psi=0.
    return readFileSync('/proc/pressure/memory', 'latin1').split('\n', 1)[0]!;
  },
};
