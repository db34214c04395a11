// A test harness: a real PostgreSQL in a sandbox, waited for and asked, gone afterwards. No Docker, no image, no port clash.
import { readdirSync } from 'node:fs';
import { Container, Wait } from '@ns/core';

const installed = '/usr/lib/postgresql';
const version = readdirSync(installed).sort().at(-1);
const bin = `${installed}/${version}/bin`;

const database = await Container.create({
  user: 'postgres',
  env: { PATH: `${bin}:/usr/bin:/bin`, LANG: 'C.UTF-8' },
  command: [
    'sh',
    '-c',
    'initdb --auth=trust --no-sync -D /tmp/data >/dev/null && exec postgres -D /tmp/data -k /tmp -c listen_addresses=127.0.0.1 -c fsync=off',
  ],
  limits: { memory: '512MiB', pids: 64 },
  stopSignal: 'SIGINT',
  wait: Wait.port(5432),
});
try {
  const began = performance.now();
  await database.start();
  process.stdout.write(`PostgreSQL ${version} is ready after ${((performance.now() - began) / 1000).toFixed(1)} s\n`);

  const query = async (sql: string) =>
    (await database.exec('psql', ['-h', '127.0.0.1', '-At', '-c', sql, 'postgres'], { check: true })).stdout.trim();
  await query('create table visit (who text, at timestamptz default now())');
  await query("insert into visit (who) values ('ada'), ('grace')");
  process.stdout.write(
    `${await query("select count(*) || ' visits by ' || string_agg(who, ' and ' order by who) from visit")}\n`,
  );
} finally {
  await database.remove({ force: true });
}
process.stdout.write('and nothing of it is left\n');
