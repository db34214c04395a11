import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtInAppArmorProfile, ensureBuiltInAppArmorProfile } from '@ns/lsm';
import { needs, notRoot } from '@ns/testing';
import { apparmorPolicy } from '../src/generated/apparmor-policy.ts';
import { appArmorSupport } from '../src/index.ts';

const environment = { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' };

function parserVersion(): string | undefined {
  try {
    const text = execFileSync('apparmor_parser', ['--version'], { encoding: 'utf8', env: environment });
    return /version (\S+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

const version = parserVersion();
const unfit =
  version === undefined
    ? 'AppArmor parser is not installed'
    : version === apparmorPolicy.parser
      ? undefined
      : `another parser compiled the policy: ${apparmorPolicy.parser}`;

needs(unfit)('the compiled profile is what its text compiles to', () => {
  const { text, policy } = builtInAppArmorProfile();
  const scratch = mkdtempSync(join(tmpdir(), 'apparmor-'));
  try {
    const features = join(scratch, 'features');
    writeFileSync(features, apparmorPolicy.features);
    const options = ['--skip-kernel-load', '--skip-cache', '--stdout'];
    const kinds = ['--kernel-features', features, '--policy-features', features];
    const compiled = execFileSync('apparmor_parser', [...options, ...kinds], { input: text, env: environment });
    expect(compiled.equals(policy)).toBe(true);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('its name tells versions apart', () => {
  expect(builtInAppArmorProfile().name).toMatch(/^ns-default-[0-9a-f]{8}$/);
  expect(builtInAppArmorProfile().text).toContain('signal (receive),');
});

const { available } = appArmorSupport();

needs(available ? 'AppArmor is here' : undefined)('without AppArmor it is not usable, which is no loss', () => {
  expect(ensureBuiltInAppArmorProfile()).toMatchObject({ usable: false, expected: false, why: expect.any(String) });
});

needs(notRoot ?? (available ? undefined : 'AppArmor: not available here'))('it is loaded once, and again', () => {
  const { name } = builtInAppArmorProfile();
  for (let i = 0; i < 2; i++) expect(ensureBuiltInAppArmorProfile()).toEqual({ usable: true, profile: name });
});
