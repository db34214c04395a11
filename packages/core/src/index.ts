export { NsError, SpecError, SyscallError, UnavailableError } from '@ns/libc';
export { ContainerProcess } from './container-process.ts';
export { ContainerStartError, ContainerStateError, ProcessFailedError } from './errors.ts';
export type { OutputChunk } from './output.ts';
export type { Result, Usage } from './result.ts';
export { run } from './run.ts';
export type * from './types.ts';
