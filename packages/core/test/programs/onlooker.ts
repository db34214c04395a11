import { Container } from '@ns/core';

/* Looks at a container of another process, and has nothing else to do: `onlooker ID logs|events|attach|none|wait`. */

const [id, what] = process.argv.slice(2);
const c = await Container.get(id!);
process.stdout.write('found\n');
const looks: Readonly<Record<string, () => Promise<void>>> = {
  async logs() {
    for await (const { data } of c.logs({ follow: true })) process.stdout.write(data);
  },
  async events() {
    for await (const { type } of c.events()) {
      process.stdout.write(`${type}\n`);
      if (type === 'exit') break;
    }
  },
  async attach() {
    for await (const data of c.attach()) process.stdout.write(data);
  },
  async wait() {
    await c.wait({ timeout: 50 }).catch(({ code }) => process.stdout.write(`${code}\n`));
  },
  async none() {
    for await (const _ of c.logs({ follow: true })) break;
  },
};
await looks[what!]!();
process.stdout.write('done\n');
