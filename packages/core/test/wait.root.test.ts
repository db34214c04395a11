import { Container, type ContainerSpec, Wait, type WaitError } from '@ns/core';
import { needs, notRoot, slowness } from '@ns/testing';

const test = needs(notRoot);

/** A server that opens its port after a moment, in the container's own network namespace. */
const server = (port: number, status = 200) =>
  `setTimeout(() => require('http').createServer((_, r) => { r.statusCode = ${status}; r.end('pong') })` +
  `.listen(${port}, () => console.log('listening')), 50); console.log('booting');`;

function node(script: string, spec: Partial<ContainerSpec> = {}): Promise<Container> {
  return Container.create({ command: [process.execPath, '-e', script], ...spec });
}

function failure(container: Container): Promise<WaitError> {
  return container.start().then(
    () => Promise.reject(new Error('it got ready')),
    (error) => error as WaitError,
  );
}

test('log, port and page, each and together', async () => {
  await using c = await node(server(8080), {
    wait: Wait.all([Wait.log(/^listening$/), Wait.port(8080), Wait.http('/', { port: 8080, body: /pong/ })], {
      timeout: 10_000,
    }),
  });
  await c.start();
  expect(c.status).toBe('running');
});

test('the host listening on the port is not the container listening', async () => {
  const { createServer } = await import('node:net');
  const host = createServer().listen(0);
  const { port } = host.address() as { port: number };
  try {
    await using c = await Container.create({ command: ['sleep', 'infinity'], wait: Wait.port(port, { timeout: 200 }) });
    expect(await failure(c)).toMatchObject({
      code: 'ERR_NS_WAIT_TIMEOUT',
      message: expect.stringContaining(`200 ms have passed (nothing listens), waiting for port ${port}`),
    });
    expect(c.status).toBe('running');
  } finally {
    host.close();
  }
});

test('a timeout shows what was seen and the last output', async () => {
  // It may take longer to answer anything at all.
  const failureAfter = async (timeout: number): Promise<WaitError> => {
    await using c = await node(server(80, 503), { wait: Wait.http('/health', { timeout }) });
    const error = await failure(c);
    expect(error.code).toBe('ERR_NS_WAIT_TIMEOUT');
    return error.message.includes('it answered') ? error : failureAfter(2 * timeout);
  };
  const error = await failureAfter(1_000 * slowness);
  expect(error.message).toContain('it answered 503');
  expect(error.message).toContain('booting\nlistening');
  expect(error.condition).toBe('an answer of http://container:80/health');
});

test('a container that ends before it is ready fails at once', async () => {
  for (const wait of [Wait.log('never'), Wait.port(80), Wait.http('/'), Wait.exit()]) {
    await using c = await Container.create({ command: ['sh', '-c', 'echo boom >&2; exit 3'], wait });
    expect(await failure(c)).toMatchObject({
      code: 'ERR_NS_WAIT_FAILED',
      message: expect.stringMatching(/it has ended with exit code 3, .*It wrote:\nboom$/s),
      hint: expect.any(String),
    });
  }
});

for (const [end, spec, code, hint] of [
  [
    'nothing in time',
    { command: ['sleep', '60'], wait: Wait.log('up', { timeout: 50 }) },
    'TIMEOUT',
    /Raise the timeout/,
  ],
  ['the wrong port', { command: ['sleep', '60'], wait: Wait.port(1, { timeout: 50 }) }, 'TIMEOUT', /a port on which/],
  ['a daemon', { command: ['true'], wait: Wait.port(1) }, 'FAILED', /foreground/],
  [
    'too little memory',
    { command: ['sh', '-c', 'exec head -c 64m /dev/zero | tail'], limits: { memory: '8MiB', memorySwap: '8MiB' } },
    'FAILED',
    /limits\.memory/,
  ],
  ['too little time', { command: ['sleep', '60'], timeout: 50 }, 'FAILED', /Raise its timeout/],
] satisfies [string, ContainerSpec, string, RegExp][]) {
  test(`the hint says what to do about ${end}`, async () => {
    await using c = await Container.create({ wait: Wait.log('up'), ...spec });
    const error = await failure(c);
    expect(error).toMatchObject({ code: `ERR_NS_WAIT_${code}`, hint: expect.stringMatching(hint) });
    expect(error.message).toContain(error.hint);
  });
}

test('lines are counted, split as they come, and streams told apart', async () => {
  const script = 'printf one; sleep 0.05; echo " ready"; echo ready >&2; sleep 0.05; printf "ready> "; sleep 60';
  for (const wait of [
    Wait.log(/ready/g, { times: 3 }),
    Wait.log('one ready', { stream: 'stdout' }),
    Wait.log(/^ready$/, { stream: 'stderr' }),
    Wait.log(/^ready> $/),
  ]) {
    await using c = await Container.create({ command: ['sh', '-c', script], wait });
    await c.start();
  }
});

test('any holds with the first, and fails when all have failed', async () => {
  await using quick = await Container.create({
    command: ['sh', '-c', 'echo up; sleep 60'],
    wait: Wait.any([Wait.port(1), Wait.log('up')]),
  });
  await quick.start();
  await using slow = await Container.create({
    command: ['sleep', '60'],
    wait: Wait.any([Wait.port(1, { timeout: 50 }), Wait.log('up', { timeout: 100 })]),
  });
  expect((await failure(slow)).code).toBe('ERR_NS_WAIT_TIMEOUT');
});

test('exit: start settles when the work is done', async () => {
  await using c = await Container.create({ command: ['sh', '-c', 'sleep 0.05; echo done'], wait: Wait.exit() });
  await c.start();
  expect((await c.wait()).stdout).toBe('done\n');
});

test('what is no condition is refused', async () => {
  const create = (wait: unknown) => Container.create({ command: ['true'], wait: wait as ContainerSpec['wait'] & {} });
  await expect(create({ kind: 'port', port: 70_000 })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'wait.port',
  });
  await expect(create('ready')).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  await expect(create(Wait.all([]))).rejects.toMatchObject({ field: 'wait.conditions' });
});

test('a program that ends before its first verdict is not waited for', async () => {
  await using c = await Container.create({
    command: ['sh', '-c', 'sleep 0.2; exit 3'],
    health: { command: 'exit 1', interval: 60_000 },
    wait: Wait.health({ timeout: 5000 * slowness }),
  });
  expect(await failure(c)).toMatchObject({
    code: 'ERR_NS_WAIT_FAILED',
    message: expect.stringContaining('it has ended with exit code 3'),
  });
});

test('a line is tried as a whole when it ends, and before that while it is short', async () => {
  // Such a pattern takes the square of what it is tried on.
  const wait = Wait.log(/ready.*connections/, { timeout: 5000 * slowness });
  const script = `process.stdout.write('ready'.repeat(13_000)); setTimeout(() => console.log(' for connections'), 500)`;
  await using c = await node(script, { wait });
  await c.start();
  await using prompt = await Container.create({
    command: ['sh', '-c', 'printf "ready for connections"; sleep 60'],
    wait,
  });
  await prompt.start();
});

test('what the run before says at its end is no sign of the one that was asked for', async () => {
  await using c = await Container.create({
    command: [
      'sh',
      '-c',
      'trap "echo no longer ready; exit" TERM; sleep 0.4; echo ready; while :; do sleep 0.02; done',
    ],
    wait: Wait.log('ready'),
  });
  await c.start();
  const stopped = c.stop();
  await c.start();
  await stopped;
  const written: string[] = [];
  for await (const { data } of c.logs()) written.push(...data.toString().trim().split('\n'));
  expect(written).toEqual(['ready', 'no longer ready', 'ready']);
});
