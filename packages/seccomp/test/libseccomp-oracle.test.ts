import { type ProfileRule, profiles, type SeccompProfile } from '@ns/seccomp';
import { needs } from '@ns/testing';
import { compareWithLibseccomp, type Machine, machines } from './compare-with-libseccomp.ts';
import { noLibseccomp } from './libseccomp.ts';

const oracle = needs(noLibseccomp);

const differences = (profile: SeccompProfile, machine: Machine, capabilities: string[] = []) =>
  compareWithLibseccomp(profile, machine, capabilities).differences;

describe.each(machines)('the same as libseccomp on $arch', (machine) => {
  oracle("Docker's profile", () => {
    expect(differences(profiles.docker, machine)).toEqual([]);
  });

  oracle("Docker's profile with capabilities", () => {
    expect(
      differences(profiles.docker, machine, ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE', 'CAP_BPF', 'CAP_SYS_TIME']),
    ).toEqual([]);
  });

  oracle('the default and the strict profile', () => {
    expect(differences(profiles.default, machine)).toEqual([]);
    expect(differences(profiles.strict, machine)).toEqual([]);
  });

  oracle('a list of refusals with every comparison', () => {
    expect(differences(everyComparison, machine)).toEqual([]);
  });

  oracle('every action', () => {
    expect(differences(everyAction, machine)).toEqual([]);
  });
});

const everyComparison: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: (['EQ', 'NE', 'LT', 'LE', 'GT', 'GE', 'MASKED_EQ'] as const).flatMap((op, position): ProfileRule[] => {
    const name = ['read', 'write', 'close', 'fcntl', 'ioctl', 'lseek', 'dup'][position]!;
    const arg = (index: number, value: bigint) => ({
      index,
      op: `SCMP_CMP_${op}` as const,
      value: String(value),
      valueTwo: String(value & 0xff0f0000000fn),
    });
    return [
      { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [arg(0, 7n), arg(2, 0x1_0000_0000n)] },
      { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [arg(1, 0xffff_ffff_ffff_fff0n)] },
      {
        names: [name],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 5,
        args: [arg(3, 0x1234_5678_9abc_def0n), arg(4, 0xffff_ffffn), arg(5, 1n)],
      },
    ];
  }),
};

const everyAction: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: 38,
  syscalls: [
    { names: ['read'], action: 'SCMP_ACT_ALLOW' },
    { names: ['write'], action: 'SCMP_ACT_LOG' },
    { names: ['openat'], action: 'SCMP_ACT_NOTIFY' },
    { names: ['close'], action: 'SCMP_ACT_TRAP' },
    { names: ['dup'], action: 'SCMP_ACT_TRACE', errnoRet: 513 },
    { names: ['ptrace'], action: 'SCMP_ACT_KILL' },
    { names: ['mount'], action: 'SCMP_ACT_KILL_PROCESS' },
    { names: ['umount2'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
    { names: ['bind', 'semget'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
  ],
};
