import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';

/* A part of the tree from the real systemd: the one of the machine, and that of an ordinary user. */

const noSystemd = existsSync('/run/systemd/system') ? undefined : 'not a cgroup v2 host under systemd';
const missing = notRoot ?? (detectCgroups().mode === 'v2' ? noSystemd : 'not a cgroup v2 host');

const nobody = 65_534;

describe('limits in a scope of systemd', () => {
  let program: NodeProgram;
  beforeAll(() => {
    if (missing === undefined) program = new NodeProgram('systemd-scope');
  }, 60_000);
  afterAll(() => program?.[Symbol.dispose]());

  needs(missing)(
    'for root, from the manager of the machine',
    async () => {
      const { stdout, stderr } = await program.run();
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual({
        unit: expect.stringMatching(/^ns-\d+\.scope$/),
        own: expect.stringMatching(/^\/system\.slice\/ns-\d+\.scope$/),
        hog: 'oom',
        pidsMax: 32,
      });
    },
    120_000,
  );

  needs(missing)(
    "for an ordinary user, from the user's own manager",
    async () => {
      const manager = `user@${nobody}.service`;
      expect(spawnSync('systemctl', ['start', manager]).status).toBe(0);
      try {
        const env = { XDG_RUNTIME_DIR: `/run/user/${nobody}`, HOME: '/tmp' };
        const { stdout, stderr } = await program.run([], { uid: nobody, gid: nobody, env });
        expect(stderr).toBe('');
        expect(JSON.parse(stdout)).toMatchObject({
          own: expect.stringContaining(`/user.slice/user-${nobody}.slice/${manager}/`),
          hog: 'oom',
          pidsMax: 32,
        });
      } finally {
        spawnSync('systemctl', ['stop', manager]);
      }
    },
    120_000,
  );
});
