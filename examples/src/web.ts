// A web server in one container; it is found by its name from another one, and from the host through a published port.
import { Container, Network, run, Wait } from '@ns/core';

const server = `
  require('node:http')
    .createServer((request, response) => response.end('hello from ' + require('node:os').hostname()))
    .listen(80, '::', () => console.log('listening'));
`;

await using network = await Network.create({ name: 'shop' });
await using web = await Container.create({
  command: [process.execPath, '-e', server],
  name: 'web',
  hostname: 'shop-web',
  network,
  ports: ['127.0.0.1:0:80'],
  wait: Wait.log('listening'),
});
await web.start();

const client = `fetch('http://web/').then((response) => response.text()).then(console.log)`;
const { stdout } = await run(process.execPath, ['-e', client], { network });
console.log('a container says:', stdout.trim());

const [port] = web.ports;
const response = await fetch(`http://127.0.0.1:${port!.hostPort}/`);
console.log('the host says:', await response.text());
