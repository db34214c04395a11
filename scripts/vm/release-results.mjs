import { readFileSync, writeFileSync } from 'node:fs';
import { readReport, skippedTests } from '../jest-report.mjs';

/**
 * What the release check has found, kept on disk by kind of machine and file, so that it can be done in parts. A result
 * counts for the commit it was found on.
 */
export class ReleaseResults {
  #file;
  #found;

  constructor(file) {
    this.#file = file;
    try {
      this.#found = JSON.parse(readFileSync(file, 'utf8'));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      this.#found = {};
    }
  }

  of(kind, file) {
    return this.#found[`${kind} ${file}`];
  }

  /** Takes over the report of a machine. A file that is not in it is one that failed: the machine hung or ended early. */
  add({ kind, files }, reportFile, commit) {
    const results = readReport(reportFile)?.testResults ?? [];
    for (const file of files) {
      const result = results.find(({ name }) => name.endsWith(`/${file}`));
      this.#found[`${kind} ${file}`] = { commit, date: new Date().toISOString().slice(0, 10), ...countsOf(result) };
    }
    writeFileSync(this.#file, `${JSON.stringify(this.#found, undefined, 1)}\n`);
  }
}

function countsOf(result) {
  if (!result) return { passed: 0, failed: 1, skipped: [], failures: ['no report'], seconds: 0 };
  const withStatus = (status) => result.assertionResults.filter((test) => test.status === status);
  const failures = withStatus('failed').map((test) => test.fullName);
  // A file may fail without a test of its own: it does not load.
  if (result.status === 'failed' && failures.length === 0) failures.push('the file itself');
  return {
    passed: withStatus('passed').length,
    failed: failures.length,
    skipped: skippedTests(result).map((name) => /\(skipped: (.*)\)$/.exec(name)?.[1] ?? name),
    failures,
    seconds: Math.round((result.endTime - result.startTime) / 1_000),
  };
}
