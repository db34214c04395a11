import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CapabilitySet,
  formatCapabilities,
  formatFileCapabilities,
  getProcessCapabilities,
  parseFileCapabilities,
  readFileCapabilities,
  removeFileCapabilities,
  writeFileCapabilities,
} from '@ns/capabilities';
import { SpecError } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function missing(): string | undefined {
  if (notRoot) return notRoot;
  try {
    run('getpcaps', '1');
  } catch {
    return 'no getpcaps (libcap2-bin)';
  }
  return undefined;
}

const test = needs(missing());

describe('processes', () => {
  test('getpcaps prints the same for ourselves and for processes with other sets', async () => {
    const texts = ['=', 'cap_chown,cap_kill=ip cap_net_raw=ep', '=ep cap_sys_admin,cap_sys_resource-ep'];
    for (const text of texts) {
      const child = spawn('capsh', [`--caps=${text}`, '--', '-c', 'echo ready; exec sleep 60'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      try {
        await once(child.stdout, 'data');
        await waitForProgram(child.pid!, 'sleep');
        expect(`${child.pid}: ${formatCapabilities(getProcessCapabilities(child.pid!))}\n`).toBe(
          run('getpcaps', String(child.pid)),
        );
      } finally {
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    }
    expect(`${process.pid}: ${formatCapabilities(getProcessCapabilities(process.pid))}\n`).toBe(
      run('getpcaps', String(process.pid)),
    );
  });

  test('capsh decodes a mask to the same names', () => {
    for (const mask of [0xa80425fbn, 0x1ffffffffffn, 1n << 40n]) {
      const set = CapabilitySet.fromMask(mask);
      expect(run('capsh', `--decode=${set.toHex()}`)).toBe(`0x${set.toHex()}=${set}\n`);
    }
  });
});

describe('files', () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ns-capabilities-'));
    file = join(directory, 'program');
    writeFileSync(file, '');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('getcap shows what we write, and we read what setcap writes', () => {
    for (const text of [
      'cap_net_raw=ep',
      'cap_chown,cap_bpf=p',
      'cap_chown=eip',
      'cap_kill=ei cap_chown+ep',
      'cap_setuid=i',
    ]) {
      writeFileCapabilities(file, parseFileCapabilities(text));
      const shown = run('getcap', file).trim();
      expect(shown).toBe(`${file} ${formatFileCapabilities(parseFileCapabilities(text))}`);
      run('setcap', '-r', file);
      expect(readFileCapabilities(file)).toBeUndefined();
      run('setcap', text, file);
      expect(readFileCapabilities(file)).toEqual(parseFileCapabilities(text));
    }
  });

  test('version 3 with a root id, both ways', () => {
    writeFileCapabilities(file, parseFileCapabilities('cap_net_raw=ep', { rootId: 100_000 }));
    expect(run('getcap', '-n', file).trim()).toBe(`${file} cap_net_raw=ep [rootid=100000]`);
    run('setcap', '-n', '70000', 'cap_chown=p', file);
    expect(readFileCapabilities(file)).toMatchObject({ rootId: 70_000, effective: false });
  });

  test('setcap and we refuse the same', () => {
    for (const text of ['cap_chown=ep cap_kill=p', 'cap_chown=ep cap_kill=i', 'cap_nope=p']) {
      expect(() => run('setcap', text, file)).toThrow();
      expect(() => parseFileCapabilities(text)).toThrow(SpecError);
    }
  });

  test('by descriptor, and removal', () => {
    const fd = openSync(file, 'r');
    try {
      writeFileCapabilities(fd, parseFileCapabilities('cap_kill=p'));
      expect(readFileCapabilities(fd)?.permitted.names()).toEqual(['CAP_KILL']);
      expect(removeFileCapabilities(fd)).toBe(true);
      expect(removeFileCapabilities(file)).toBe(false);
    } finally {
      closeSync(fd);
    }
  });

  test('a symbolic link is refused, and what it points to is left alone', () => {
    const link = join(directory, 'link');
    symlinkSync(file, link);
    expect(() => writeFileCapabilities(link, parseFileCapabilities('cap_kill=p'))).toThrow(SpecError);
    expect(() => readFileCapabilities(directory)).toThrow(SpecError);
    expect(() => readFileCapabilities(join(directory, 'nothing'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(readFileCapabilities(file)).toBeUndefined();
  });
});

async function waitForProgram(pid: number, name: string): Promise<void> {
  while (!readlinkSync(`/proc/${pid}/exe`).endsWith(`/${name}`)) await new Promise((resolve) => setTimeout(resolve, 5));
}
