import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { needs } from '@ns/testing';
import { stages } from '../src/generated/stage.ts';

const buildScript = fileURLToPath(new URL('../stage/build.sh', import.meta.url));
const compilers = { x64: 'gcc', arm64: 'aarch64-linux-gnu-gcc' } as const;

/** First line of `compiler --version`, undefined when it is not installed. */
function versionOf(compiler: string): string | undefined {
  try {
    return execFileSync(compiler, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  } catch {
    return undefined;
  }
}

describe.each(['x64', 'arm64'] as const)('%s', (arch) => {
  const stage = Buffer.from(stages[arch].base64, 'base64');
  const version = versionOf(compilers[arch]);
  const missing =
    version === undefined
      ? `no ${compilers[arch]}`
      : version === stages[arch].compiler
        ? undefined
        : `another compiler made the bytes: ${stages[arch].compiler}`;

  needs(missing)('the embedded bytes are what stage.c compiles to', () => {
    const scratch = mkdtempSync(join(tmpdir(), 'stage-'));
    try {
      execFileSync('sh', [buildScript, compilers[arch], join(scratch, 'stage')]);
      expect(readFileSync(join(scratch, 'stage')).equals(stage)).toBe(true);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  test('a static executable of about a kilobyte, with no writable and no executable stack segment', () => {
    expect(stage.length).toBeLessThan(2048);
    expect(stage.toString('latin1', 1, 4)).toBe('ELF');
    expect(stage.readUInt16LE(16)).toBe(2); // ET_EXEC
    expect(stage.readUInt16LE(18)).toBe({ x64: 62, arm64: 183 }[arch]); // EM_X86_64, EM_AARCH64
    const segments = Array.from(
      { length: stage.readUInt16LE(56) },
      (_, i) => Number(stage.readBigUInt64LE(32)) + i * stage.readUInt16LE(54),
    );
    const flags = (type: number) =>
      segments.filter((at) => stage.readUInt32LE(at) === type).map((at) => stage.readUInt32LE(at + 4));
    expect(flags(1)).toEqual([5]); // one PT_LOAD: read and execute, so it has no data
    expect(flags(0x6474e551)).toEqual([6]); // PT_GNU_STACK: not executable
    expect(flags(3)).toEqual([]); // PT_INTERP: no dynamic loader
  });
});
