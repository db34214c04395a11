import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* What a container that may trace processes sees of a command that is about to be run in it. */

useOwnStateRoot();
const perl = '/usr/bin/perl';
const test = needs(notRoot ?? (existsSync(perl) ? undefined : 'no perl on this machine'));
let host: string;

beforeAll(() => {
  host = mkdtempSync(join(tmpdir(), 'ns-host-'));
  writeFileSync(join(host, 'secret'), '');
});
afterAll(() => rmSync(host, { recursive: true, force: true }));

/** Looks at the processes that come next as often as it can, and says what it saw of them that is not the container's. */
const watch = `
  my ($secret, $mine) = @ARGV; $| = 1; my %told;
  sub note { my $what = shift; print "$what\\n" unless $told{$what}++ }
  print "watching\\n";
  while (1) {
    open(my $load, '<', '/proc/loadavg') or die; my ($last) = <$load> =~ /(\\d+)$/;
    for my $pid ($last, $last + 1) {
      note('the host root') if -e "/proc/$pid/root$secret";
      if (opendir(my $fds, "/proc/$pid/fd")) {
        for my $fd (grep { $_ > 2 } readdir $fds) {
          my $to = readlink("/proc/$pid/fd/$fd"); note("descriptor of $to") if defined $to && $to =~ m{^/(?!proc|usr|lib|etc|dev/pts)};
        }
      }
      open(my $status, '<', "/proc/$pid/status") or next;
      my ($caps) = map { /^CapEff:\\s*(\\w+)/ ? $1 : () } <$status>;
      note("capabilities $caps") if defined $caps && (hex($caps) & ~hex($mine));
    }
  }`;

test('nobody is set up in sight of who may trace him', async () => {
  const tracer = await Container.create({ command: ['sleep', '60'], capabilities: { add: ['SYS_PTRACE'] } });
  await using _ = tracer;
  await tracer.start();
  const pid = { container: tracer };
  await expect(run('true', [], { namespaces: { pid } })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'namespaces.pid',
  });
  await using other = await Container.create({ command: ['sleep', '60'] });
  await other.start();
  const joining = { namespaces: { pid: { container: other } } };
  await run('true', [], { ...joining, capabilities: { add: ['SYS_PTRACE'] }, check: true });
  // Whom it is in sight of need not be who has made it.
  await using debugger_ = await Container.create({
    command: ['sleep', '60'],
    ...joining,
    capabilities: { add: ['SYS_PTRACE'] },
  });
  await debugger_.start();
  await expect(run('true', [], joining)).rejects.toMatchObject({
    field: 'namespaces.pid',
    hint: expect.stringContaining(debugger_.id.slice(0, 12)),
  });
  await debugger_.kill();
  await run('true', [], { ...joining, check: true });
  await expect(run('true', [], { ...joining, idMap: 'auto' })).rejects.toMatchObject({ field: 'namespaces.pid' });
});

for (const options of [{}, { user: '1000' }, { tty: true }])
  test(`of a command ${JSON.stringify(options)} nothing is seen inside that is not the container's`, async () => {
    const { stdout: mine } = await run('sh', ['-c', "sed -n 's/^CapEff:\\s*//p' /proc/self/status"], {
      capabilities: { add: ['SYS_PTRACE'] },
    });
    await using container = await Container.create({
      command: [perl, '-e', watch, join(host, 'secret'), mine.trim()],
      capabilities: { add: ['SYS_PTRACE'] },
      rootfs: { host: true, hide: [host] },
    });
    await container.start();
    for (let i = 0; i < 40; i++) await container.exec('true', [], options);
    await container.stop({ timeout: 0 });
    expect((await container.wait()).stdout.trim().split('\n').sort()).toEqual(['watching']);
  });
