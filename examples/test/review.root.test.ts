import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { needs, notRoot } from '@ns/testing';

const program = fileURLToPath(new URL('../dist/review.js', import.meta.url));
const test = needs(notRoot ?? (existsSync(program) ? undefined : 'the examples are not built'));

const tool = `
  sed -i s/one/ONE/ code.js                      # what was asked for
  mkdir -p lib && echo 'export {}' > lib/new.js
  printf 'a\\0b' > binary
  printf '\\033[31mred\\033[0m\\n' > escape
  rm precious                                    # and what was not
  echo stolen > ${tmpdir()}/outside-review
`;

test('what is accepted reaches the directory, what is rejected does not', () => {
  const project = mkdtempSync(join(tmpdir(), 'ns-review-'));
  try {
    writeFileSync(join(project, 'code.js'), 'one\ntwo\n', { mode: 0o600 });
    writeFileSync(join(project, 'precious'), 'kept');
    mkdirSync(join(project, 'empty'));
    // In the order of paths: binary, code.js, escape, lib, lib/new.js, precious.
    const output = execFileSync(process.execPath, [program, project, 'sh', '-c', tool], {
      input: 'n\ny\nn\ny\ny\nn\n',
      encoding: 'utf8',
    });
    expect(output).toContain('sh ended with 0');
    expect(output).toContain('-one\n+ONE\n two\n');
    expect(output).toContain('+export {}');
    expect(output).toContain('(not text)');
    expect(output).not.toContain('\x1b');
    expect(output).toMatch(/deleted .*precious/);
    expect(output).toMatch(/Outside the directory, and so rejected: .*outside-review/);
    expect(output).toContain('3 changes accepted');

    expect(readFileSync(join(project, 'code.js'), 'utf8')).toBe('ONE\ntwo\n');
    expect(statSync(join(project, 'code.js')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(project, 'lib/new.js'), 'utf8')).toBe('export {}\n');
    expect(readFileSync(join(project, 'precious'), 'utf8')).toBe('kept');
    for (const path of [join(project, 'binary'), join(project, 'escape'), join(tmpdir(), 'outside-review')])
      expect(existsSync(path)).toBe(false);
  } finally {
    rmSync(project, { recursive: true });
  }
}, 60_000);
