import { setTimeout as delay } from 'node:timers/promises';
import { Container } from '@ns/core';

/* Does things to a container of another process, over and over: `other-hand ID ROUNDS`. */

const [id, rounds] = process.argv.slice(2);
const c = await Container.get(id!);
for (let round = 1; round <= Number(rounds); round++) {
  await c.update({ limits: { pids: 100 + round } });
  await c.rename(`hand-${round}`);
  const { exitCode, stdout } = await echo(round);
  if (exitCode !== 0 || stdout !== `${round}\n`) throw new Error(`exec ${round}: ${exitCode} ${stdout}`);
}
await using again = await Container.get(`hand-${rounds}`);
process.stdout.write(again.id);

/** The other pauses and resumes it all the time. */
async function echo(round: number): Promise<{ exitCode: number | null; stdout: string }> {
  for (;;) {
    try {
      return await c.exec('echo', [String(round)]);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_NS_CONTAINER_PAUSED') throw error;
      await delay(1);
    }
  }
}
