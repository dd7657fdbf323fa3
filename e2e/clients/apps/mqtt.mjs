// MQTT over WebSocket, as an application would use it: two clients of a broker.
//
//     node mqtt.mjs --url wss://localhost:8443/mqtt    says what it saw as one JSON object
//
// The clients trust what NODE_EXTRA_CA_CERTS names. Must not know what stands before the broker.

import { once } from "node:events";
import { parseArgs } from "node:util";
import { connectAsync } from "mqtt";

const TIMEOUT_MS = 30_000;
const LARGE_OCTETS = 150_000;

const { values: { url } } = parseArgs({ options: { url: { type: "string" } } });
const connect = (protocolVersion) => connectAsync(url, { protocolVersion, reconnectPeriod: 0, connectTimeout: TIMEOUT_MS });
setTimeout(() => { throw new Error("too late"); }, TIMEOUT_MS).unref();

const publisher = await connect(5);
const subscriber = await connect(4);
await subscriber.subscribeAsync("headrace/#", { qos: 2 });
const received = [];
const all = new Promise((resolve) => subscriber.on("message", (topic, payload, { qos }) => {
  received.push({ topic, qos, payload: payload.length > 1000 ? payload.length : payload.toString() });
  if (received.length === 4) resolve();
}));
for (const qos of [0, 1, 2]) await publisher.publishAsync(`headrace/qos${qos}`, `at ${qos}`, { qos });
await publisher.publishAsync("headrace/large", Buffer.alloc(LARGE_OCTETS, 7), { qos: 1 });
await all;

await publisher.publishAsync("kept/state", "still here", { qos: 1, retain: true });
const late = await connect(5);
const retained = once(late, "message");
await late.subscribeAsync("kept/state");
const [, payload, { retain }] = await retained;

await Promise.all([publisher, subscriber, late].map((client) => client.endAsync()));
console.log(JSON.stringify({ received, retained: { payload: payload.toString(), retain } }));
process.exit(0);
