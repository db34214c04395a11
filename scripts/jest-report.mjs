import { existsSync, readFileSync } from 'node:fs';

/** What Jest wrote with --json, or `undefined` when it did not get that far. */
export function readReport(file) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text === '' ? undefined : JSON.parse(text);
}

/** Names of the tests that were skipped, of a report or of one of its files; each ends with its reason. */
export function skippedTests({ testResults, assertionResults }) {
  const tests = assertionResults ?? testResults.flatMap((file) => file.assertionResults);
  return tests.filter((test) => test.status === 'pending').map((test) => test.fullName);
}
