// One gRPC call to the push, as a stranger would make it, and what the server says to it as one JSON object.
//
// Owns the call alone. Must not know what the tokens are that it is given.
//
//     node subscribe.mjs --address 198.19.0.7 --name headrace-controller-push.headrace-system.svc --ca ca.pem --token ...

import http2 from "node:http2";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const TIMEOUT_MS = 10_000;
const PORT = 9443;

const { values } = parseArgs({
  options: {
    address: { type: "string" }, name: { type: "string" }, ca: { type: "string" }, token: { type: "string" },
  },
});
const session = http2.connect(`https://${values.name}:${PORT}`, {
  ca: readFileSync(values.ca),
  lookup: (_, { all }, found) => (all ? found(null, [{ address: values.address, family: 4 }]) : found(null, values.address, 4)),
});
const seen = {};
const end = () => { console.log(JSON.stringify(seen)); process.exit(0); };
session.on("error", (error) => { seen.connection = error.message; end(); });
const call = session.request({
  ":method": "POST", ":path": "/headrace.push.v1.Push/Subscribe", "content-type": "application/grpc", te: "trailers",
  ...(values.token ? { authorization: `Bearer ${values.token}` } : {}),
});
call.setTimeout(TIMEOUT_MS, () => { seen.late = true; end(); });
const note = (headers) => { seen.status ??= headers["grpc-status"]; seen.message ??= headers["grpc-message"]; };
call.on("response", note);
call.on("trailers", note);
call.on("error", (error) => { seen.error = error.message; });
call.on("close", end);
call.resume();
// An empty message, in five octets of gRPC's framing.
call.end(Buffer.alloc(5));
