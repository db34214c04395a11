import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, type ProfileRule, profiles, SECCOMP_RET, simulate } from '@ns/seccomp';
import type { Benchmark, Findings } from './benchmark.ts';
import { median } from './percentiles.ts';

const ROUNDS = 7;
const CALLS = 400_000;
const AUDIT_ARCH_X86_64 = 0xc000003e;

/** Calls that differ in what the kernel can spare itself. */
const calls = [
  // Allowed whatever the arguments: since 5.11 the kernel keeps that in a bitmap and does not run the filter.
  { label: 'getppid (allowed)', nr: 110, arg: 0n },
  { label: 'personality (argument checked)', nr: 135, arg: 0xffffffffn },
  { label: 'keyctl (refused)', nr: 250, arg: 0n },
  { label: 'number 900 (unknown)', nr: 900, arg: 0n },
] as const;

/** Our filter for Docker's profile beside libseccomp's, with and without the binary tree that runc turns on. */
export const benchmark: Benchmark = {
  title: 'seccomp filters',
  async run() {
    const directory = mkdtempSync(join(tmpdir(), 'ns-bench-seccomp-'));
    try {
      return measure(directory);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

function measure(directory: string): Findings {
  const loop = build(directory, 'syscall-loop', []);
  const compileC = build(directory, 'libseccomp-compile', ['-lseccomp']);
  const rules = rulesForC();
  const path = (name: string) => join(directory, name);
  const variants = [
    { label: 'no filter', filter: path('none') },
    { label: '@ns/seccomp', filter: path('ours') },
    { label: 'libseccomp', filter: path('linear') },
    { label: 'libseccomp, binary tree', filter: path('tree') },
  ];
  writeFileSync(path('none'), '');
  writeFileSync(path('ours'), compile(profiles.docker, { arch: 'x86_64' }));

  const compileMs: Record<string, number[]> = { '@ns/seccomp': [], libseccomp: [], 'libseccomp, binary tree': [] };
  const nanoseconds = new Map(variants.map(({ label }) => [label, calls.map((): number[] => [])]));
  for (let round = 0; round < ROUNDS; round++) {
    const before = performance.now();
    compile(profiles.docker, { arch: 'x86_64' });
    compileMs['@ns/seccomp']!.push(performance.now() - before);
    compileMs.libseccomp!.push(Number(execFileSync(compileC, ['0', path('linear')], { input: rules })));
    compileMs['libseccomp, binary tree']!.push(Number(execFileSync(compileC, ['2', path('tree')], { input: rules })));
    for (const { label, filter } of variants) {
      for (const [index, { nr, arg }] of calls.entries()) {
        const result = execFileSync(loop, [filter, String(CALLS), String(nr), String(arg)]);
        nanoseconds.get(label)![index]!.push(Number(result));
      }
    }
  }

  const steps = (program: Buffer, nr: number, arg: bigint) =>
    program.length === 0 ? undefined : simulate(program, { nr, arch: AUDIT_ARCH_X86_64, args: [arg] }).steps;
  const programs = variants.map(({ label, filter }) => ({ label, program: readFileSync(filter) }));
  return {
    tables: [
      {
        title: "Docker's default profile for x86_64, x86 and x32",
        columns: [{ label: 'filter' }, { label: 'instructions', decimals: 0 }, { label: 'made in, ms' }],
        rows: programs
          .filter(({ program }) => program.length > 0)
          .map(({ label, program }) => [label, program.length / 8, median(compileMs[label] ?? [])]),
      },
      {
        title: 'Nanoseconds per system call',
        columns: [{ label: 'filter' }, ...calls.map(({ label }) => ({ label, decimals: 0 }))],
        rows: variants.map(({ label }) => [label, ...nanoseconds.get(label)!.map(median)]),
      },
      {
        title: 'Instructions run per system call',
        columns: [{ label: 'filter' }, ...calls.map(({ label }) => ({ label, decimals: 0 }))],
        rows: programs.map(({ label, program }) => [label, ...calls.map(({ nr, arg }) => steps(program, nr, arg))]),
      },
    ],
    notes: [
      `Medians of ${ROUNDS} rounds in alternation, ${CALLS} calls each. The time to make a filter is that inside a running process: in JavaScript it includes checking the profile, in C it starts with parsed rules.`,
    ],
  };
}

function build(directory: string, name: string, libraries: string[]): string {
  const source = fileURLToPath(new URL(`../c/${name}.c`, import.meta.url));
  const program = join(directory, name);
  execFileSync('gcc', ['-O2', '-o', program, source, ...libraries]);
  return program;
}

// enum scmp_compare
const OPERATORS = { NE: 1, LT: 2, LE: 3, EQ: 4, GE: 5, GT: 6, MASKED_EQ: 7 } as const;

/** What Docker hands to runc for a process without capabilities on this machine, as lines for the C program. */
function rulesForC(): string {
  const counts = ({ includes, excludes }: ProfileRule) =>
    !includes?.caps?.length &&
    (includes?.arches ?? ['amd64']).includes('amd64') &&
    !excludes?.arches?.includes('amd64');
  return (profiles.docker.syscalls ?? [])
    .filter(counts)
    .flatMap(({ names = [], action, errnoRet, args }) => {
      const value = action === 'SCMP_ACT_ALLOW' ? SECCOMP_RET.ALLOW : SECCOMP_RET.ERRNO | (errnoRet ?? 1);
      const conditions = (args ?? []).map(
        (arg) =>
          `${arg.index} ${OPERATORS[arg.op.slice(9) as keyof typeof OPERATORS]} ${arg.value} ${arg.valueTwo ?? 0}`,
      );
      return names.map((name) => [name, value, conditions.length, ...conditions].join(' '));
    })
    .join('\n');
}
