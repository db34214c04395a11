import { Wait } from '@ns/core';
import { parseListeners } from '../src/wait/listening-sockets.ts';
import { describeCondition } from '../src/wait/wait.ts';

test('listening sockets are read from the tables of the kernel', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1',
    '   1: 0100007F:0050 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1',
    '   2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 3 1',
    '   3: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4 1',
    '',
  ].join('\n');
  expect(parseListeners(table)).toEqual([
    { address: '127.0.0.1', port: 8080 },
    { address: '::', port: 22 },
    { address: '0:0:0:0:0:ffff:7f00:1', port: 81 },
  ]);
});

test('conditions are data and read like sentences', () => {
  const condition = Wait.all([Wait.log(/up/), Wait.any([Wait.port(80), Wait.http('/x', { port: 81 })])]);
  expect(condition).toEqual({
    kind: 'all',
    conditions: [
      { kind: 'log', pattern: /up/ },
      {
        kind: 'any',
        conditions: [
          { kind: 'port', port: 80 },
          { kind: 'http', path: '/x', port: 81 },
        ],
      },
    ],
  });
  expect(describeCondition(condition)).toBe('a line with /up/ and port 80 or an answer of http://container:81/x');
});
