// Prints the pools of whoever runs it.
import { defaultIdPools } from '../../src/index.ts';

process.stdout.write(JSON.stringify(defaultIdPools()));
