// What each package would publish, judged by publint; and that it has a README.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const packages = fileURLToPath(new URL('../packages', import.meta.url));
for (const name of readdirSync(packages)) {
  const pkgDir = join(packages, name);
  const { messages, pkg } = await publint({ pkgDir, strict: true, pack: false });
  const problems = messages.map((message) => formatMessage(message, pkg, { color: false }));
  if (!existsSync(join(pkgDir, 'README.md'))) problems.push('has no README.md');
  for (const problem of problems) console.log(`packages/${name}: ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
}
