// graphql-ws, as an application would use it: server and client.
//
//     node graphql.mjs serve                                    prints its port, serves until it is killed
//     node graphql.mjs use --url wss://localhost:8443/graphql   says what it saw as one JSON object
//
// The client trusts what NODE_EXTRA_CA_CERTS names. Must not know what stands between the two.

import { createServer } from "node:http";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { buildSchema } from "graphql";
import { createClient } from "graphql-ws";
import { useServer } from "graphql-ws/use/ws";
import { WebSocket, WebSocketServer } from "ws";

// How often the client asks whether the server has heard of an end: each time is a round trip.
const MAX_ASKS = 2000;

const schema = buildSchema(`
  type Query { hello(name: String!): String! running: Int! }
  type Subscription { countdown(from: Int!): Int! forever: Int! }
`);

const active = { forever: 0 };
const roots = {
  query: { hello: ({ name }) => `hello, ${name}`, running: () => active.forever },
  subscription: {
    async *countdown({ from }) {
      for (let count = from; count >= 0; count--) yield { countdown: count };
    },
    async *forever() {
      active.forever++;
      try {
        for (let count = 0; ; count++) {
          yield { forever: count };
          await new Promise((done) => setTimeout(done, 20));
        }
      } finally {
        active.forever--;
      }
    },
  },
};

async function serve(address) {
  const server = createServer();
  useServer({ schema, roots }, new WebSocketServer({ server, path: "/graphql" }));
  server.listen(0, address);
  await once(server, "listening");
  console.log(server.address().port);
}

async function use(url) {
  let subprotocol, closeCode;
  const client = createClient({ url, webSocketImpl: WebSocket, lazy: false, retryAttempts: 0, onNonLazyError: () => {} });
  client.on("opened", (socket) => { subprotocol = socket.protocol; });
  const closed = new Promise((resolve) => client.on("closed", (event) => { closeCode = event.code; resolve(); }));

  const countdown = [];
  for await (const { data, errors } of client.iterate({ query: "subscription { countdown(from: 5) }" })) {
    countdown.push(errors ?? data.countdown);
  }
  // The client ends this one: the server must hear of it.
  const forever = [];
  for await (const { data } of client.iterate({ query: "subscription { forever }" })) {
    forever.push(data.forever);
    if (forever.length === 3) break;
  }
  let running = -1;
  for (let turn = 0; turn < MAX_ASKS && running !== 0; turn++) {
    running = (await client.iterate({ query: "{ running }" }).next()).value.data.running;
  }
  const hello = await client.iterate({ query: '{ hello(name: "headrace") }' }).next();
  const refused = await client.iterate({ query: "{ nothing }" }).next().then(({ value }) => value?.errors, (errors) => errors);
  await client.dispose();
  await closed;
  return { subprotocol, countdown, forever, running, hello: hello.value.data.hello, refused: refused?.[0]?.message, closeCode };
}

const { positionals: [mode], values } = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string" }, address: { type: "string", default: "127.0.0.1" } },
});
if (mode === "serve") {
  await serve(values.address);
} else {
  console.log(JSON.stringify(await use(values.url)));
  process.exit(0);
}
