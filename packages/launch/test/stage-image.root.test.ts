import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { needs, notRoot } from '@ns/testing';
import { NodeScript } from './node-script.ts';

const noSetting = existsSync('/proc/sys/vm/memfd_noexec') ? undefined : 'no vm.memfd_noexec before Linux 6.3';

needs(notRoot ?? noSetting)('where executable memfds are forbidden, an unnamed file does the same', () => {
  using script = new NodeScript('plain-launch');
  // The setting belongs to a pid namespace, so the machine keeps its own.
  const forbid = 'echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"';
  const output = execFileSync(
    'unshare',
    ['--pid', '--fork', '--mount-proc', 'sh', '-c', forbid, 'sh', process.execPath, script.file],
    {
      encoding: 'utf8',
    },
  );
  expect(output).toMatch(/exit 7 \n$/);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith('ns-stage-'))).toEqual([]);
});
