/* The first to look a path up in a new overlay waits until the kernel has looked it up in each layer: of the execve of a
   small program that is a third. */

/** Where the loaders of glibc and musl are, and the C library as Debian and as Fedora place it. */
const loaders: Readonly<Record<string, readonly string[]>> = {
  x64: [
    '/lib64/ld-linux-x86-64.so.2',
    '/lib/ld-musl-x86_64.so.1',
    '/lib/x86_64-linux-gnu/libc.so.6',
    '/lib64/libc.so.6',
  ],
  arm64: [
    '/lib/ld-linux-aarch64.so.1',
    '/lib/ld-musl-aarch64.so.1',
    '/lib/aarch64-linux-gnu/libc.so.6',
    '/lib64/libc.so.6',
  ],
};

/** What nearly every program is found by and asks for before its first own instruction. */
export function earlyLookups(env: readonly string[]): readonly string[] {
  const path = env.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  const directories = path.split(':').filter((directory) => directory.startsWith('/'));
  return [...directories, ...(loaders[process.arch] ?? []), '/etc/ld.so.preload', '/etc/ld.so.cache'];
}
