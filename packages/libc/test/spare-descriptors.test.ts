import { openSync, readFileSync } from 'node:fs';
import { leaveDescriptors } from '@ns/testing';
import {
  closeBound,
  holdBriefly,
  identifyProcess,
  isAlive,
  O,
  openBound,
  withDescriptorsForChild,
  withSpareDescriptors,
} from '../src/index.ts';

describe('without any descriptor left', () => {
  let limit: Disposable;
  beforeEach(() => {
    limit = leaveDescriptors(0);
    expect(() => openSync('/', 'r')).toThrow('EMFILE');
  });
  afterEach(() => limit[Symbol.dispose]());

  test('what is closed again at once is opened, any number of times', () => {
    for (let times = 0; times < 20; times++) {
      const fd = openBound(-1, '/proc/self', O.RDONLY);
      expect(fd).toBeGreaterThan(0);
      closeBound(fd);
      expect(holdBriefly(() => readFileSync('/proc/self/comm', 'utf8'))).toMatch(/./);
      expect(withSpareDescriptors(() => readFileSync('/proc/self/comm', 'utf8'))).toMatch(/./);
    }
  });

  test('what is held takes what there is, and no more', () => {
    const held: number[] = [];
    for (let fd = openBound(-1, '/', O.PATH); fd >= 0; fd = openBound(-1, '/', O.PATH)) held.push(fd);
    expect(held).toHaveLength(8);
    const refusal = expect.objectContaining({ code: 'EMFILE', hint: expect.stringContaining('ulimit -n') });
    expect(() => withDescriptorsForChild(() => 'started')).toThrow(refusal);
    expect(() => isAlive({ pid: process.pid, startTime: 0 })).toThrow(refusal);
    for (const fd of held) closeBound(fd);
    expect(withDescriptorsForChild(() => 'started')).toBe('started');
  });

  test('who lives is found', () => {
    expect(identifyProcess(process.pid)).toMatchObject({ pid: process.pid });
    expect(isAlive(identifyProcess(process.pid)!)).toBe(true);
  });
});
