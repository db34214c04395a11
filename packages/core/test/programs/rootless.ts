import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Container, NsError, Pool, probe as probeMachine, run, Volume } from '../../src/index.ts';

/* What an ordinary user does with the library. Prints one JSON object: {name of the case: what came of it}. */

const [scratch = '/tmp', probe = '[]'] = process.argv.slice(2);
const observations: Record<string, unknown> = {};

async function see(name: string, look: () => Promise<unknown>): Promise<void> {
  if (process.env.TRACE) process.stderr.write(`${name}\n`);
  try {
    observations[name] = await look();
  } catch (error) {
    const { code, message, hint } = error as NsError;
    observations[name] = { error: code ?? String(error), typed: error instanceof NsError, message, hint };
  }
}

const out = async (script: string, options = {}) => {
  const { stdout, stderr, exitCode, reason } = await run('sh', ['-c', script], options);
  return { exitCode, reason, stdout: stdout.trim(), stderr: stderr.trim() };
};

const own = (id: number) => [{ container: 0, host: id, size: 1 }];
const singleId = { uids: own(process.geteuid!()), gids: own(process.getegid!()) };
const root = join(scratch, 'root');

await see('id', () => out('id -u; id -g'));
await see('uid_map', () => out('cat /proc/self/uid_map'));
await see('single id', () => out('id -u; cat /proc/self/uid_map', { idMap: singleId }));
await see('own files', () => out('touch /new /tmp/new && ls -ld /new /tmp/new | wc -l'));
await see('files of the host are not his', () => out('echo x >> /etc/passwd; echo x > /usr/bin/new; cat /etc/shadow'));
await see('processes', () => out('cd /proc && set -- [0-9]* && echo $#'));
await see('hostname', () => out('hostname', { hostname: 'rootless' }));
await see('network', () => out("sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev"));
await see('devices', () => out('echo x > /dev/null && head -c 3 /dev/zero | wc -c && test -c /dev/tty'));
await see('overlay of a directory', async () => {
  const { stdout } = await run(['/bin/busybox', 'sh', '-c', 'echo changed > /bin/new && cat /bin/new'], {
    rootfs: root,
  });
  return { stdout, onDisk: existsSync(join(root, 'bin/new')) };
});
await see('an overlay of a directory of his own', async () => {
  const own = join(scratch, 'own');
  mkdirSync(join(own, 'etc'), { recursive: true });
  mkdirSync(join(own, 'bin'));
  copyFileSync(join(root, 'bin/busybox'), join(own, 'bin/busybox'));
  const { stdout, exitCode } = await run(['/bin/busybox', 'stat', '-c', '%u:%g', '/etc', '/bin'], { rootfs: own });
  rmSync(own, { recursive: true });
  return { stdout, exitCode };
});
await see('a directory itself', async () => {
  const { exitCode } = await run(['/bin/busybox', 'touch', '/made'], { rootfs: { dir: root }, writable: 'direct' });
  return { exitCode, onDisk: existsSync(join(root, 'made')) };
});
await see('read-only root', () => out('touch /made /usr/made; ls /made', { writable: 'none' }));
await see('what it changed', async () => {
  await using container = await Container.create({ command: ['sh', '-c', 'echo x > /srv/made'] });
  await container.start();
  await container.wait();
  return (await container.diff()).map(({ kind, path }) => `${kind} ${path}`);
});
await see('advice of probe()', async () =>
  Object.entries(await probeMachine()).flatMap(([name, { ok, why, fix }]) => (ok || (why && fix) ? [] : [name])),
);
await see('bind', () =>
  out('cat /data/x; touch /data/y', { mounts: [{ source: scratch, target: '/data', readonly: true }] }),
);
await see('writable bind', async () => {
  const data = join(scratch, 'data');
  mkdirSync(data);
  const result = await out('echo from inside > /data/file; id -u > /data/uid; ls -ln /data/file | cut -d" " -f3', {
    mounts: [{ source: data, target: '/data' }],
  });
  const content = readFileSync(join(data, 'file'), 'utf8');
  rmSync(data, { recursive: true });
  return { ...result, content };
});
await see('another user', () => out('id -u; id -g', { user: '1:1' }));
await see('another user at a terminal', () => out('id -u; : > $(tty)', { user: '1:1', tty: true }));
await see('a command of another user', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  const { stdout } = await container.exec('sh', ['-c', 'id -nu; echo $HOME; : > $(tty)'], {
    user: 'nobody',
    tty: true,
  });
  return stdout;
});
await see('sysctl', () => out('cat /proc/sys/net/ipv4/ip_forward', { sysctls: { 'net.ipv4.ip_forward': 1 } }));
await see('seccomp', () =>
  out('grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status | tr -s "\\t" " "; unshare -U true'),
);
await see('strict', () => out('echo fine', { seccomp: 'strict' }));
await see('landlock', () =>
  out('cat /etc/hostname >/dev/null && cat /etc/passwd', {
    landlock: {
      files: {
        readOnly: ['/etc/hostname', '/etc/ld.so.cache'],
        readWrite: ['/dev'],
        execute: ['/usr', '/bin', '/lib', '/lib64'],
      },
    },
  }),
);
await see('onSyscall', () =>
  out('mkdir /a', { onSyscall: { mkdir: (call: { errno(name: string): void }) => call.errno('EROFS') } }),
);
await see('timeout', () => out('sleep 60', { timeout: 200 }));
await see('not found', () => run('no-such-command').then(({ exitCode }) => exitCode));
await see('stdin', () => run('cat', [], { stdin: 'to the container' }).then(({ stdout }) => stdout));
await see('limits', () => out('echo limited', { limits: { memory: '64MiB' } }));
await see('an OOM score below his own', () => out('true', { oomScoreAdj: -500 }));
await see('a size on disk', () =>
  out('true', { writable: { dir: `${process.cwd()}tmp/ns-sized-${process.pid}`, size: '8m' } }),
);
await see('host namespaces', () => out('true', { network: 'host' }));
await see('ids of others', () =>
  out('true', { idMap: { uids: [{ container: 0, host: 0, size: 1 }], gids: own(process.getegid!()) } }),
);
await see('container', async () => {
  const container = await Container.create({ command: ['sleep', '60'], name: 'rootless' });
  try {
    await container.start();
    await container.exec('sh', ['-c', 'echo kept > /kept']);
    const { stdout } = await container.exec('sh', ['-c', 'cat /kept; id -u; exit 3']);
    const listed = await Container.list();
    const processes = await container.processes();
    await container.stop({ timeout: 0 });
    return {
      stdout,
      status: container.status,
      names: processes.map(({ name, user }) => [name, user]),
      listed: listed.map(({ name, status }) => [name, status]),
    };
  } finally {
    await container.remove({ force: true });
  }
});
await see('processes of a command', async () => {
  const container = await Container.create({ command: ['sleep', '60'] });
  const commands = async () => (await container.processes()).map(({ command }) => command.join(' '));
  try {
    await container.start();
    const before = await commands();
    const hasBegun = '[ "$(tr "\\0" " " < /proc/$!/cmdline)" = "sleep 74 " ]';
    const script = `sleep 74 & until ${hasBegun}; do sleep 0.02; done; echo ready; wait`;
    const running = container.exec('sh', ['-c', script]);
    await once(running.stdout, 'data');
    const during = (await commands()).filter((command) => command.includes('sleep 74'));
    running.kill('SIGKILL');
    await running;
    return {
      during: during.map((command) => command.split(' ')[0]),
      back: isDeepStrictEqual(await commands(), before),
    };
  } finally {
    await container.remove({ force: true });
  }
});
await see('what a command leaves behind', async () => {
  const container = await Container.create({ command: ['sleep', '60'] });
  const others = async () =>
    (await container.processes()).map(({ command }) => command.join(' ')).filter((command) => /^sleep 7/.test(command));
  try {
    await container.start();
    // Twice forked, in sessions of their own, one with a child: no parent, group or session leads to them.
    const leave = '(setsid sh -c "sleep 71 & sleep 72 & wait" >/dev/null 2>&1 &) ; (setsid sleep 73 >/dev/null 2>&1 &)';
    const until = 'until [ $(grep -l "^sleep" /proc/[0-9]*/cmdline | wc -l) -ge 4 ]; do sleep 0.02; done';
    const ended = await container.exec('sh', ['-c', `${leave}; ${until}; exit 5`]);
    const afterEnd = await others();
    const timedOut = await container.exec('sh', ['-c', `${leave}; ${until}; echo left; sleep 60`], { timeout: 2_000 });
    const afterTimeout = await others();
    const killed = container.exec('sh', ['-c', `${leave}; ${until}; echo left; sleep 60`]);
    killed.stdout.once('data', () => killed.kill('SIGKILL'));
    const { signal } = await killed;
    const stopped = container.exec('sh', ['-c', 'trap "exit 9" TERM; echo ready; while :; do sleep 0.02; done']);
    stopped.stdout.once('data', () => stopped.kill());
    return {
      ended: ended.exitCode,
      timedOut: [timedOut.reason, timedOut.signal],
      killed: signal,
      stopped: (await stopped).exitCode,
      left: [...afterEnd, ...afterTimeout, ...(await others())],
      first: (await container.processes()).length,
    };
  } finally {
    await container.remove({ force: true });
  }
});
await see('files', async () => {
  const place = join(scratch, 'files');
  mkdirSync(place);
  writeFileSync(join(place, 'in'), 'from the host');
  const container = await Container.create({ command: ['/bin/busybox', 'sleep', '60'], rootfs: root });
  const sh = async (script: string) => {
    const { stdout, stderr } = await container.exec('/bin/busybox', ['sh', '-c', script]);
    return stdout + stderr;
  };
  try {
    await container.start();
    await container.copyIn(join(place, 'in'), '/srv/in');
    const inside = await sh('busybox cat /srv/in; busybox stat -c " %u" /srv/in; echo made > /fresh');
    await container.copyOut('/fresh', join(place, 'out'));
    const names = async () =>
      (
        Buffer.concat(await container.export().toArray())
          .toString('latin1')
          .match(/fresh|busybox/g) ?? []
      ).length > 1;
    const exported = [await names()];
    const changes = (await container.diff()).map(({ kind, path }) => `${kind} ${path}`);
    await container.stop({ timeout: 0 });
    exported.push(await names());
    const { path } = await container.commit(join(place, 'store'));
    const again = await run(['/bin/busybox', 'sh', '-c', 'busybox cat /fresh; busybox stat -c %u /fresh'], {
      rootfs: { layers: [path, root] },
    });
    return { inside, out: readFileSync(join(place, 'out'), 'utf8'), exported, changes, again: again.stdout };
  } finally {
    await container.remove({ force: true });
    rmSync(place, { recursive: true, force: true });
  }
});
await see('volume of an image of two layers', async () => {
  const above = join(scratch, 'above');
  mkdirSync(join(above, 'data'), { recursive: true });
  writeFileSync(join(above, 'data/top'), 'of the top');
  const source = `layers-${process.pid}`;
  try {
    const { stdout } = await run(['/bin/busybox', 'cat', '/data/top'], {
      rootfs: { layers: [above, root] },
      mounts: [{ type: 'volume', source, target: '/data' }],
    });
    return stdout;
  } finally {
    await (await Volume.get(source)).remove();
  }
});
await see('forks', async () => {
  const image = join(scratch, 'image');
  mkdirSync(join(image, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(image, 'bin/busybox'));
  symlinkSync('busybox', join(image, 'bin/sh'));
  mkdirSync(join(image, 'replaced'));
  for (const path of ['replaced/below', 'deleted']) writeFileSync(join(image, path), 'of the image');
  // Before Linux 6.6 a tmpfs has no user attributes to mark a directory by that hides another.
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const replace =
    major > 6 || (major === 6 && minor >= 6)
      ? 'busybox rm -r /replaced; busybox mkdir /replaced'
      : 'busybox rm /replaced/below';
  const change = [
    'echo made > /made; busybox chmod 0 /made; busybox ln /made /linked; busybox touch -d @1000000000 /made',
    `busybox rm /deleted; ${replace}; : > /replaced/new`,
    'busybox mkdir -p /of-another/sub; : > /of-another/sub/file; busybox chown -R 7:8 /of-another 2>/dev/null; busybox chmod 700 /of-another',
    'busybox mkfifo /pipe; busybox ln -s /proc/self/fd /link; busybox dd if=/dev/zero of=/sparse bs=1 count=1 seek=64M 2>/dev/null',
  ].join(' && ');
  const look = [
    'busybox cat /made; busybox stat -c "%n %u:%g %a %h %Y" /made; [ /made -ef /linked ] && echo one file',
    '[ -e /deleted ] || echo no file; busybox ls /replaced; busybox stat -c "%u:%g %a" /of-another; busybox ls /of-another/sub',
    'busybox stat -c %F /pipe /link; [ $(busybox stat -c %b /sparse) -lt 1000 ] && echo sparse',
  ].join('; ');
  const original = await Container.create({ command: ['/bin/sh', '-c', change], rootfs: image });
  try {
    await original.start();
    const { exitCode, stderr } = await original.wait();
    const copies = await original.fork(2, {
      command: ['/bin/sh', '-c', `${look}; echo changed > /made; busybox rm -r /of-another`],
    });
    try {
      const again = await original.fork(1, { command: ['/bin/sh', '-c', look] });
      copies.push(...again);
      await original.remove();
      const results = [];
      for (const copy of copies) {
        await copy.start();
        results.push(await copy.wait());
      }
      // The others have none that this user may not look into.
      const changes = (await copies[0]!.diff()).map(({ kind, path }) => `${kind} ${path}`);
      // Of a fork another one, of the changes it has made itself.
      const [third] = await copies[0]!.fork(1, { command: ['/bin/busybox', 'cat', '/made'] });
      copies.push(third!);
      await third!.start();
      const outputs = results.map(({ stdout, stderr }) => stdout + stderr);
      return { first: { exitCode, stderr }, outputs, changes, third: (await third!.wait()).stdout };
    } finally {
      for (const copy of copies) await copy.remove({ force: true });
    }
  } finally {
    await original.remove({ force: true });
    rmSync(image, { recursive: true, force: true });
  }
});
await see('forks of the host', async () => {
  const original = await Container.create({ command: ['sh', '-c', 'echo kept > /etc/kept; echo kept > /opt/kept'] });
  const copies: Container[] = [];
  try {
    const running = await Container.create({ command: ['sleep', '60'] });
    copies.push(running);
    await running.start();
    const whileRunning = await running.fork(1).catch(({ code, hint }) => `${code}: ${hint}`);
    await original.start();
    await original.wait();
    const [copy] = await original.fork(1, { command: ['cat', '/etc/kept', '/opt/kept'], writable: { size: '8m' } });
    copies.push(copy!);
    await copy!.start();
    const { stdout } = await copy!.wait();
    const full = await original
      .fork(1, { writable: { size: '4k' } })
      .catch(({ code, message, hint }) => ({ code, message, hint }));
    const ids = await original.fork(1, { idMap: singleId, writable: { size: '8m' } }).then(
      (made) => {
        copies.push(...made);
        return 'made';
      },
      ({ code, hint }) => `${code}: ${hint}`,
    );
    return { whileRunning, stdout, full, ids };
  } finally {
    for (const container of [original, ...copies]) await container.remove({ force: true });
  }
});
await see('mounts while it runs', async () => {
  const source = join(scratch, 'source');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'of the host');
  const container = await Container.create({ command: ['/bin/busybox', 'sleep', '60'], rootfs: root });
  const sh = async (script: string) => {
    const { stdout, stderr } = await container.exec('/bin/busybox', ['sh', '-c', script]);
    return stdout + stderr;
  };
  const mounts = () => sh('busybox cat /proc/mounts');
  try {
    await container.start();
    const before = await mounts();
    await container.mount({ source, target: '/srv/bound', readonly: true });
    await container.mount({ type: 'tmpfs', target: '/srv/memory', size: '1m' });
    await container.mount({ type: 'file', target: '/srv/secret', content: 'hunter2', mode: 0o400 });
    const seen = await sh(
      'busybox cat /srv/bound/file /srv/secret; busybox touch /srv/bound/x; busybox touch /srv/memory/x && echo " ok"',
    );
    for (const target of ['/srv/secret', '/srv/memory', '/srv/bound']) await container.unmount(target);
    return { seen, restored: (await mounts()) === before };
  } finally {
    await container.remove({ force: true });
    rmSync(source, { recursive: true, force: true });
  }
});
await see('pause', async () => {
  const container = await Container.create({ command: ['sleep', '60'] });
  try {
    await container.start();
    await container.pause();
    return container.status;
  } finally {
    await container.remove({ force: true });
  }
});
await see('pool', async () => {
  const pool = await Pool.create({ size: 2 });
  const results = await Promise.all([1, 2, 3].map((i) => pool.run('echo', [String(i)])));
  await pool.close();
  return results.map(({ stdout }) => stdout.trim());
});
await see('probe', async () => {
  const argv = JSON.parse(probe) as [string, ...string[]];
  const { stdout, stderr } = await run(argv, { hostname: 'probe' });
  return stderr === '' ? JSON.parse(stdout) : stderr;
});
await see('left', () => Container.list());
process.stdout.write(JSON.stringify(observations));
