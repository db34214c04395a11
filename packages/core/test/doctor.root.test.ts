import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { detectCgroups } from '@ns/cgroups';
import { probe } from '@ns/core';
import { eventually, kernelState, leftSince, needs, notRoot } from '@ns/testing';
import { doctorTable, missingFeatures } from '../src/doctor-table.ts';

const test = needs(notRoot);

function probeCgroups(): string[] {
  return detectCgroups()
    .hierarchies.flatMap(({ mountPoint }) => directoriesBelow(mountPoint))
    .filter((path) => path.includes(`ns-probe-${process.pid}-`));
}

/** Those that others make and remove meanwhile may be missed, with what is in them. */
function directoriesBelow(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      if (!entry.isDirectory()) return [];
      const path = join(directory, entry.name);
      return [path, ...directoriesBelow(path)];
    });
  } catch (error) {
    // Gone, or too deep for a path: nothing of ours.
    if (['ENOENT', 'ENODEV', 'ENAMETOOLONG'].includes((error as NodeJS.ErrnoException).code!)) return [];
    throw error;
  }
}

test('every entry is a verdict, and what fails says why', async () => {
  const capabilities = await probe();
  for (const capability of Object.values(capabilities)) {
    expect(typeof capability.ok).toBe('boolean');
    if (!capability.ok) expect(capability.why).toEqual(expect.any(String));
  }
  expect(capabilities.overlay).toEqual({ ok: true });
  expect(capabilities.pidNamespace).toEqual({ ok: true });
  expect(capabilities.cgroups).toEqual({ ok: true, detail: detectCgroups().mode });
  expect(missingFeatures(capabilities)).toEqual([]);
});

test('nothing is left behind, however often', async () => {
  await probe();
  const before = kernelState();
  await Promise.all([probe(), probe()]);
  expect(await leftSince(before)).toEqual([]);
  expect(probeCgroups()).toEqual([]);
});

test('a tenth of a second or little more', async () => {
  const isQuick = async () => {
    const begin = performance.now();
    await probe();
    return performance.now() - begin < 300;
  };
  // Others have work to do, too.
  expect(await eventually(isQuick, 200)).toBe(true);
});

test('the table has a line per feature and the fix below what fails', async () => {
  const capabilities = {
    ...(await probe()),
    overlay: { ok: false, why: 'no overlay here', fix: 'modprobe overlay' },
    criu: { ok: false, why: 'there is no program criu', fix: 'Install the package criu' },
  };
  const table = doctorTable(capabilities, (_, text) => text);
  expect(table).toMatch(/^ {2}yes {2}pidNamespace$/m);
  expect(table).toMatch(/^ {2}NO {3}overlay +no overlay here\n +modprobe overlay$/m);
  expect(table).toMatch(/^ {2}no {3}criu +there is no program criu\n +Install the package criu$/m);
  expect(table).toContain('Containers need: overlay.');
});

test('what several features fail for is said once', async () => {
  const noCgroups = { ok: false, why: 'mkdirat: EACCES', fix: 'have a scope delegated' };
  const capabilities = { ...(await probe()), cgroups: noCgroups, memoryController: noCgroups, cgroupKill: noCgroups };
  const table = doctorTable(capabilities, (_, text) => text);
  expect(table).toMatch(
    /^ {2}NO {3}cgroups +mkdirat: EACCES\n +have a scope delegated\n {2}no {3}memoryController +as above\n {2}no {3}cgroupKill +as above\n/m,
  );
  expect(table.match(/EACCES|delegated/g)).toHaveLength(2);
});
