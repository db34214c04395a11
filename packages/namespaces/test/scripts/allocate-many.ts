// Allocates <count> ranges below the state directory, prints where they begin, and keeps them until it is told to end.
import { allocateIds } from '../../src/index.ts';

const [, , stateDir, count] = process.argv;
const pool = { start: 0, size: 1_000_000 };
const starts: number[] = [];
for (let i = 0; i < Number(count); i++) {
  const lease = await allocateIds({ stateDir: stateDir!, size: 10, pools: { uids: [pool], gids: [pool] } });
  starts.push(lease.uids.start);
}
process.stdout.write(`${JSON.stringify(starts)}\n`);
process.stdin.resume();
