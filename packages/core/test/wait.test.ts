import { setImmediate as nextTurn } from 'node:timers/promises';
import { Wait } from '@ns/core';
import { LogBuffer } from '../src/log-buffer.ts';
import { parseListeners } from '../src/wait/listening-sockets.ts';
import { untilReady } from '../src/wait/until-ready.ts';
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

test('a line that does not end is not tried at each piece of it: a pattern may take the square of its length', async () => {
  const logs = new LogBuffer(2 ** 20);
  const lines: number[] = [];
  const pattern = /^ready.*connections$/;
  const { test: original } = RegExp.prototype;
  RegExp.prototype.test = function (this: RegExp, line: string) {
    if (this.source === pattern.source) lines.push(line.length);
    return original.call(this, line);
  };
  try {
    const subject = { pid: 1, logs, startedAt: 0, ended: new Promise<never>(() => {}), health: undefined };
    const ready = untilReady(Wait.log(pattern), subject);
    for (let i = 0; i < 100; i++) {
      logs.add('stdout', Buffer.from('ready'.repeat(100)));
      await nextTurn();
    }
    logs.add('stdout', Buffer.from(' for connections\n'));
    await ready;
  } finally {
    RegExp.prototype.test = original;
  }
  expect(lines).toEqual([500, 1000, 50_016, 0]);
});
