import { parseArgs, styleText } from 'node:util';
import { doctorTable, missingFeatures, type Paint } from '../doctor-table.ts';
import { probe } from '../probe.ts';

const usage = `Usage: npx @ns/core doctor [--json]

Tries what containers need on this machine, as this user, and says what works, why not, and what would help.
Exit status: 0 when containers can run, 1 when something is missing that they need, 2 for a wrong option.
`;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (!options) {
    process.stderr.write(usage);
    return 2;
  }
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const capabilities = await probe();
  const paint: Paint = process.stdout.isTTY && !process.env.NO_COLOR ? styleText : (_, text) => text;
  process.stdout.write(
    options.json ? `${JSON.stringify(capabilities, undefined, 2)}\n` : doctorTable(capabilities, paint),
  );
  return missingFeatures(capabilities).length === 0 ? 0 : 1;
}

/** undefined when the command line is wrong. */
function readOptions(): { readonly json?: boolean; readonly help?: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({
      options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    return positionals.length === 0 || positionals.join(' ') === 'doctor' ? values : undefined;
  } catch {
    return undefined;
  }
}
