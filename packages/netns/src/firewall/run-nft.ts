import { UnavailableError, withDescriptorsForChild } from '@ns/libc';
import { NftError } from '../errors.ts';
import type { InNetns } from '../namespace-reference.ts';
import { openReference } from '../namespace-reference.ts';

/**
 * Applies an nft script as one transaction: `nft -f -`. Needs CAP_NET_ADMIN.
 *
 * @param doing - what for, in words
 * @throws UnavailableError when nft is not installed
 * @throws NftError when nft refuses; nothing was changed then
 */
export async function applyRuleset(script: string, doing: string, options: InNetns = {}): Promise<void> {
  // Imported late: it costs 200 ms of CPU, and only the first network of a boot needs it.
  const { execa } = await import('execa');
  using target = options.netns === undefined ? undefined : openReference(options.netns);
  // A child cannot be started inside a namespace from here, so nsenter(1) takes it there; it sees our descriptor by its path.
  const [file, args] = target
    ? ['nsenter', [`--net=/proc/${process.pid}/fd/${target.fd}`, 'nft', '-f', '-']]
    : ['nft', ['-f', '-']];
  const result = await withDescriptorsForChild(() =>
    execa(file, args, {
      input: script,
      reject: false,
      timeout: 30_000,
      // Our own working directory may be one that was removed, and jobs of cron search /usr/bin and /bin only.
      cwd: '/',
      env: { PATH: [process.env.PATH, '/usr/sbin:/usr/bin:/sbin:/bin'].filter(Boolean).join(':') },
    }),
  );
  if (!result.failed) return;
  if (
    result.code === 'ENOENT' ||
    result.exitCode === 127 ||
    (/No such file or directory/.test(String(result.stderr)) && /nsenter/.test(String(result.stderr)))
  ) {
    throw new UnavailableError(
      'nftables',
      'there is no program nft',
      'Install nftables, or publish ports through the userland proxy',
    );
  }
  throw new NftError(doing, String(result.stderr) || String(result.shortMessage), {
    hint: /Operation not permitted/.test(String(result.stderr))
      ? 'Changing firewall rules needs CAP_NET_ADMIN'
      : undefined,
    cause: result,
  });
}
