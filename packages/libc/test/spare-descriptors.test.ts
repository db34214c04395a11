import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import {
  allocate,
  check,
  closeBound,
  holdBriefly,
  identifyProcess,
  isAlive,
  O,
  openBound,
  SYS,
  syscall,
  withDescriptorsForChild,
  withSpareDescriptors,
} from '../src/index.ts';

const RLIMIT_NOFILE = 7;

describe('without any descriptor left', () => {
  const { bytes, address } = allocate(16); // struct rlimit64: soft, hard
  const setLimit = (soft: bigint) => {
    bytes.writeBigUInt64LE(soft);
    check('prlimit64', syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, address, 0));
  };
  let before: bigint;
  let fillers: number[];
  beforeEach(() => {
    check('prlimit64', syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, 0, address));
    before = bytes.readBigUInt64LE();
    const highest = Math.max(...readdirSync('/proc/self/fd').map(Number));
    fillers = [];
    do fillers.push(openSync('/dev/null', 'r'));
    while (fillers.at(-1)! < highest);
    setLimit(BigInt(fillers.at(-1)! + 1));
    expect(() => openSync('/', 'r')).toThrow('EMFILE');
  });
  afterEach(() => {
    setLimit(before);
    for (const fd of fillers) closeSync(fd);
  });

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
