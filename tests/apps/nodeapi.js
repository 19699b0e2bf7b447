#!/usr/bin/env node
// Nodeapi is the Node workload: one event loop for every connection.
// It answers the same paths as goapi where they make sense for it.
//
// usage: nodeapi.js [HOST:PORT]
// environment: DOWNSTREAM, HOST:PORT, whose /sleep is asked for /down
'use strict';

const http = require('node:http');

function number(query, name, otherwise) {
  const value = Number(query.get(name));
  return query.has(name) && Number.isInteger(value) && value >= 0 ? value : otherwise;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function answer(response, status, body) {
  if (status === 204 || status === 304) {
    response.writeHead(status).end();
  } else {
    response.writeHead(status, { 'Content-Length': Buffer.byteLength(body) }).end(body);
  }
}

const keeping = new http.Agent({ keepAlive: true });

const handlers = {
  hello: ({ response }) => answer(response, 200, 'hello\n'),
  status: ({ response, path }) => {
    const status = Number(path.slice(path.lastIndexOf('/') + 1));
    answer(response, status, `${status}\n`);
  },
  echo: ({ response, body }) => answer(response, 200, body),
  spin: ({ response, query }) => {
    const end = process.hrtime.bigint() + BigInt(number(query, 'us', 100)) * 1000n;
    while (process.hrtime.bigint() < end);
    answer(response, 200, 'spun\n');
  },
  sleep: async ({ response, query }) => {
    await pause(number(query, 'ms', 10));
    answer(response, 200, 'slept\n');
  },
  down: async ({ response, query }) => {
    const [host, port] = process.env.DOWNSTREAM.split(':');
    const path = `/sleep?ms=${number(query, 'ms', 10)}`;
    const reply = await new Promise((resolve, reject) => {
      http.get({ host, port, path, agent: keeping }, resolve).on('error', reject);
    });
    for await (const _ of reply);
    answer(response, reply.statusCode, 'asked\n');
  },
  stream: async ({ response, query }) => {
    response.writeHead(200);
    for (let i = 0; i < number(query, 'chunks', 5); i++) {
      response.write(`chunk ${i}\n`);
      await pause(number(query, 'ms', 5));
    }
    response.end();
  },
  sse: async ({ response, query }) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    for (let i = 0; i < number(query, 'events', 10); i++) {
      response.write(`id: ${i}\ndata: tick\n\n`);
      await pause(number(query, 'ms', 20));
    }
    response.end();
  },
  big: ({ response, query }) => answer(response, 200, Buffer.alloc(number(query, 'bytes', 1 << 20))),
};

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const parts = [];
  try {
    for await (const part of request) parts.push(part);
    const handler = handlers[url.pathname.split('/')[1]];
    if (handler === undefined) answer(response, 404, 'no such path\n');
    else await handler({ response, path: url.pathname, query: url.searchParams, body: Buffer.concat(parts) });
  } catch {
    response.destroy(); // The client went away.
  }
});
server.keepAliveTimeout = 0; // A connection that the client keeps is never closed from here.
server.requestTimeout = 0;
server.httpAllowHalfOpen = true; // A client that has sent everything still gets its response.

server.on('upgrade', (_request, socket) => {
  socket.on('error', () => socket.destroy());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});

const [, host, port] = /^(.*):(\d+)$/.exec(process.argv[2] ?? '127.0.0.1:0');
server.listen(Number(port), host.replace(/[[\]]/g, ''), () => {
  const { address, port: bound } = server.address();
  console.log(`listening ${address}:${bound}`);
});
process.on('SIGTERM', () => process.exit(0));
