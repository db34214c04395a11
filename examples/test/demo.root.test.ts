import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { needs, notRoot } from '@ns/testing';

const program = fileURLToPath(new URL('../dist/demo.js', import.meta.url));
const demoTest = needs(notRoot ?? (existsSync(program) ? undefined : 'the examples are not built'));

demoTest(
  'the demo shows a sandbox, and cleans up',
  () => {
    const output = execFileSync(process.execPath, [program], { encoding: 'utf8' }).replaceAll(/\x1b\[\d*m/g, '');
    const line = (label: string) => output.split('\n').find((text) => text.trim().startsWith(label)) ?? '';
    expect(line('pid 1')).toContain('ns-init');
    expect(line('hostname')).toContain('sandbox');
    expect(line('network')).toMatch(/network\s+lo\s/);
    expect(line('capabilities')).toContain('00000000a80425fb');
    expect(line('seccomp')).toContain('filtering');
    expect(line('no_new_privs')).toMatch(/no_new_privs\s+1\s/);
    expect(line('mount(2)')).toMatch(/denied|not permitted/);
    expect(line('inside')).toContain('hello');
    expect(output).not.toContain('LEAKED');
    expect(line('memory hog')).toContain('reason: oom');
    expect(line('sleeper')).toContain('reason: timeout');
    expect(line('fork bomb')).toContain('refused');
    expect(line('cleaned up')).toContain('gone');
  },
  60_000,
);
