import { parseFlatKeyed, parseNestedKeyed, parseNumber } from '../src/keyed-files.ts';
import { parseNetDev } from '../src/stats/network.ts';
import { parsePressure } from '../src/stats/pressure.ts';

test('flat keyed files', () => {
  expect([...parseFlatKeyed('anon 5\nfile 7\n')]).toEqual([
    ['anon', 5],
    ['file', 7],
  ]);
  expect(parseFlatKeyed('').size).toBe(0);
  expect([...parseFlatKeyed('alone\nmost 18446744073709551615\nlow -1\n')]).toEqual([
    ['most', 2 ** 64],
    ['low', -1],
  ]);
  expect(parseFlatKeyed('populated 1').get('populated')).toBe(1);
});

test('nested keyed files', () => {
  const lines = parseNestedKeyed('8:0 rbytes=5 wbytes=7\n8:16 rbytes=1\n259:0 \n');
  expect(lines.get('8:0')?.get('wbytes')).toBe(7);
  expect([...lines.keys()]).toEqual(['8:0', '8:16', '259:0']);
  expect(lines.get('259:0')?.size).toBe(0);
  expect(parseNestedKeyed('8:0\n\nsome a=1.25 b c=max').get('some')).toEqual(
    new Map([
      ['a', 1.25],
      ['c', Number.NaN],
    ]),
  );
});

test('numbers, and the ways to say that there is no limit', () => {
  expect(parseNumber('42\n')).toBe(42);
  expect(parseNumber('max\n')).toBe(Number.POSITIVE_INFINITY);
  expect(parseNumber('9223372036854771712\n')).toBe(Number.POSITIVE_INFINITY);
  expect(parseNumber(undefined)).toBeUndefined();
});

test('pressure', () => {
  expect(parsePressure('some avg10=1.50 avg60=0.20 avg300=0.01 total=1234\n')).toEqual({
    some: { avg10Percent: 1.5, avg60Percent: 0.2, avg300Percent: 0.01, totalUs: 1_234 },
    full: undefined,
  });
});

test('interfaces', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0: 7 1 2 3 0 0 0 0 8 4 5 6 0 0 0 0
`;
  expect(parseNetDev(text).eth0).toEqual({
    receivedBytes: 7,
    receivedPackets: 1,
    receiveErrors: 2,
    receiveDrops: 3,
    sentBytes: 8,
    sentPackets: 4,
    sendErrors: 5,
    sendDrops: 6,
  });
});
