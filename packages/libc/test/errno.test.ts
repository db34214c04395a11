import { constants } from 'node:os';
import { errnoTable } from '../src/errno-table.ts';
import { ERRNO, errnoMessage, errnoName, errnoNumber } from '../src/index.ts';

test('names and numbers are those Node knows', () => {
  const ours = Object.fromEntries(Object.entries(constants.errno).map(([name]) => [name, errnoNumber(name)]));
  expect(ours).toEqual(constants.errno);
});

test('the table is complete and in order', () => {
  const numbers: readonly number[] = errnoTable.map(([number]) => number);
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  // 41 and 58 were never given out.
  const missing = Array.from({ length: 133 }, (_, i) => i + 1).filter((number) => !numbers.includes(number));
  expect(missing).toEqual([41, 58]);
  for (const [, name, message] of errnoTable) {
    expect(name).toMatch(/^E[A-Z0-9]+$/);
    expect(message).toMatch(/^[^A-Z]|^(RFS|ELF)/);
  }
});

test('names and messages of either sign; what is unknown keeps its number', () => {
  expect([errnoName(2), errnoName(-2), errnoName(524)]).toEqual(['ENOENT', 'ENOENT', 'E524']);
  expect([errnoMessage(-13), errnoMessage(524)]).toEqual(['permission denied', 'unknown error 524']);
});

test('second names lead to the same number, and the number back to the first', () => {
  expect(ERRNO.EWOULDBLOCK).toBe(ERRNO.EAGAIN);
  expect(ERRNO.EDEADLOCK).toBe(ERRNO.EDEADLK);
  expect(ERRNO.ENOTSUP).toBe(ERRNO.EOPNOTSUPP);
  expect(errnoName(11)).toBe('EAGAIN');
});
