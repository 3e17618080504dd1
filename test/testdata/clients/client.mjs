// Calls Pleo through the proxy with nothing but fetch, and prints what came of it.
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';

const [base, uploaded] = process.argv.slice(2);
const call = (path, options) => fetch(base + path, options);
const json = async (path, options) => (await (await call(path, options)).json()).data;

async function stream() {
  const began = performance.now();
  let rows = 0, first = 0;
  const response = await call('/v1/export-stream?rows=5&interval=200ms');
  for await (const chunk of response.body) {
    first ||= (performance.now() - began) / 1000;
    rows += Buffer.from(chunk).toString().split('\n').length - 1;
  }
  return { rows, first, whole: (performance.now() - began) / 1000 };
}

// fetch knows no WebSocket: this is what a library for it does.
function echo(message) {
  return new Promise((resolve, reject) => {
    const upgrade = request(base + '/v1/echo-socket', {
      headers: {
        Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': Buffer.from('0123456789abcdef').toString('base64'),
      },
    });
    upgrade.on('error', reject);
    upgrade.on('response', (response) => resolve(`status ${response.statusCode}`));
    upgrade.on('upgrade', (response, socket, start) => {
      const mask = Buffer.from([1, 2, 3, 4]);
      const masked = Buffer.from(message).map((byte, i) => byte ^ mask[i % 4]);
      let answer = start;
      const look = () => {
        if (answer.length < 2 + masked.length) return;
        resolve(answer.subarray(2).toString());
        socket.destroy();
      };
      socket.on('data', (data) => { answer = Buffer.concat([answer, data]); look(); });
      socket.on('error', reject);
      socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | masked.length]), mask, masked]));
      look();
    });
    upgrade.end();
  });
}

const employees = await call('/v2/employees');
const head = await call('/v2/employees', { method: 'HEAD' });
const unchanged = await call('/v2/employees', { headers: { 'If-None-Match': employees.headers.get('ETag') } });
console.log(JSON.stringify({
  employees: (await employees.json()).data.length,
  upload: await json('/v1/receipts', { method: 'POST', body: await readFile(uploaded), headers: { 'Content-Type': 'application/pdf' } }),
  stream: await stream(),
  search: (await json('/v3/export-job-items:search', { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } })).length,
  rawPath: (await json('/v1/receipts/a%2Fb%20c')).rawPath,
  head: { status: head.status, length: (await head.arrayBuffer()).byteLength, type: head.headers.get('Content-Type') },
  unchanged: { status: unchanged.status, length: (await unchanged.arrayBuffer()).byteLength },
  echo: await echo('hello, Pleo'),
}));
