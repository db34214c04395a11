// node server-load.js PORT REQUESTS AT_ONCE: asks a server of bench/src/server.ts, and prints a LoadReport.
import { Agent, get } from 'node:http';

/** What a client has seen. */
export interface LoadReport {
  readonly seconds: number;
  readonly answersMs: readonly number[];
}

const [port = 0, requests = 0, atOnce = 0] = process.argv.slice(2).map(Number);
const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
const answersMs: number[] = [];
let asked = 0;

function ask(): Promise<void> {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    get({ port, host: '127.0.0.1', agent }, (response) => {
      let body = '';
      response.on('data', (data) => {
        body += data;
      });
      response.on('end', () => {
        answersMs.push(performance.now() - begin);
        if (response.statusCode === 200 && body === 'hello\n') resolve();
        else reject(new Error(`${response.statusCode}: ${body}`));
      });
    }).on('error', reject);
  });
}

const begin = performance.now();
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    while (asked++ < requests) await ask();
  }),
);
agent.destroy();
const report: LoadReport = { seconds: (performance.now() - begin) / 1000, answersMs };
process.stdout.write(JSON.stringify(report));
