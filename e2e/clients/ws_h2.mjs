// WebSocket over HTTP/2 (RFC 8441) with Node's own HTTP/2, and the frames of the `ws` package.
//
// Owns the client's side of HTTP/2 tunnels in the black-box tests. Says on standard output, as one JSON object, what it
// saw; whoever runs it judges. Must not know what stands behind the server.
//
//     node ws_h2.mjs echo --url https://localhost:8443/echo --ca ca.pem
//     node ws_h2.mjs chat --url http://localhost:8080/chat --name ann --expect ann,bob
//
// An http: URL speaks HTTP/2 in clear text with prior knowledge.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { parseArgs } from "node:util";
import { Receiver, Sender } from "ws";

// The guard of every wait: far above what any of them takes.
const TIMEOUT_MS = 30_000;
const LARGE_OCTETS = 300_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`too late: ${what}`)), TIMEOUT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One WebSocket tunnel: an extended CONNECT stream with frames on it. */
class Tunnel {
  constructor(session, url, { subprotocols = [], protocol = "websocket" } = {}) {
    const headers = {
      ":method": "CONNECT",
      ":protocol": protocol,
      ":scheme": url.protocol.slice(0, -1),
      ":authority": url.host,
      ":path": url.pathname + url.search,
      "sec-websocket-version": "13",
      origin: url.origin,
    };
    if (subprotocols.length) headers["sec-websocket-protocol"] = subprotocols.join(", ");
    this.stream = session.request(headers, { endStream: false });
    this.sender = new Sender(this.stream);
    this.receiver = new Receiver({ isServer: false });
    this.protocol = protocol;
    this.waiting = [];
    this.messages = [];
    this.closeCode = null;
    this.receiver.on("message", (data, isBinary) => this.deliver(isBinary ? data : data.toString()));
    this.receiver.on("conclude", (code) => { this.closeCode = code; });
    this.receiver.on("error", (error) => this.stream.destroy(error));
    this.stream.on("data", (piece) => this.receiver.write(piece));
    this.ended = new Promise((resolve) => {
      this.stream.on("end", () => resolve("fin"));
      this.stream.on("error", () => {});
      this.stream.on("close", () => resolve(`reset 0x${this.stream.rstCode.toString(16)}`));
    });
    this.ended.then(() => this.deliver(null));
    this.response = new Promise((resolve) => {
      this.stream.on("response", resolve);
      this.ended.then((how) => resolve({ ":status": how }));
    });
  }
  deliver(message) {
    const waiting = this.waiting.shift();
    if (waiting) waiting(message); else this.messages.push(message);
  }
  async opened() {
    this.headers = await within(this.response, "the response");
    if (this.protocol === "websocket" && this.headers[":status"] !== 200) {
      throw new Error(`the tunnel did not open: ${JSON.stringify(this.headers)}`);
    }
    return this;
  }
  receive() {
    if (this.messages.length) return Promise.resolve(this.messages.shift());
    return within(new Promise((resolve) => this.waiting.push(resolve)), "a message");
  }
  send(message) {
    this.sender.send(message, { binary: typeof message !== "string", mask: true, fin: true, compress: false });
  }
  echo(message) {
    this.send(message);
    return this.receive();
  }
  /** Sends a close frame, and END_STREAM once the server's is there. The answer is the server's code and its end. */
  async close(code) {
    this.sender.close(code, "done", true);
    const end = await within(this.ended, "the tunnel's end");
    this.stream.end();
    return { closeCode: this.closeCode, end };
  }
  reset() {
    this.stream.close(http2.constants.NGHTTP2_CANCEL);
  }
  /** What the server answered. */
  told() {
    return {
      status: String(this.headers[":status"]),
      subprotocol: this.headers["sec-websocket-protocol"] ?? null,
      // None of these may be on HTTP/2 (RFC 8441, section 5, and RFC 9113, section 8.2.2).
      forbidden: ["connection", "upgrade", "sec-websocket-accept"].filter((name) => name in this.headers),
    };
  }
}

async function echo(session, url) {
  const open = (options) => new Tunnel(session, url, options).opened();
  const large = Buffer.from(Uint8Array.from({ length: LARGE_OCTETS }, (_, index) => index % 251));

  const first = await open({ subprotocols: ["echo.v1", "echo.v2"] });
  const echoes = [await first.echo("hello"), await first.echo("grüße")];
  const binary = large.equals(await first.echo(large));
  const tunnel = { ...first.told(), echoes, binary, ...await first.close(4001) };

  // One tunnel's death leaves its neighbour, and the connection, alone.
  const [doomed, neighbour] = [await open(), await open({ subprotocols: ["next"] })];
  const before = [await doomed.echo("doomed"), await neighbour.echo("neighbour")];
  doomed.reset();
  const after = [];
  for (let turn = 0; turn < 3; turn++) after.push(await neighbour.echo(`after ${turn}`));
  const later = await open();
  const laterEcho = await later.echo("later");
  const neighbourhood = {
    before, after, later: laterEcho, ...neighbour.told(), ...await neighbour.close(1000),
    laterClose: (await later.close(1000)).closeCode,
  };

  const unknown = await open({ protocol: "carrier-pigeon" });
  unknown.stream.end();
  return {
    enableConnectProtocol: session.remoteSettings.enableConnectProtocol ? 1 : 0,
    tunnel,
    neighbour: neighbourhood,
    unknownProtocol: unknown.told().status,
    connectionLost: session.closed || session.destroyed,
  };
}

async function chat(session, url, { name, expect }) {
  url.searchParams.set("name", name);
  const tunnel = await new Tunnel(session, url, { subprotocols: ["chat.v0", "chat.v1"] }).opened();
  const expected = expect.split(",");
  const present = new Set(), said = {};
  let welcomed = false, greeted = false;
  while (!greeted || !expected.every((member) => member in said)) {
    const text = await tunnel.receive();
    if (text === null) throw new Error(`the chat ended: ${tunnel.closeCode}, ${JSON.stringify(tunnel.told())}`);
    const event = JSON.parse(text);
    if (event.event === "welcome") {
      welcomed = true;
      event.present.forEach((member) => present.add(member));
    } else if (event.event === "join") {
      present.add(event.name);
    } else if (event.event === "say") {
      said[event.name] = event.text;
    }
    if (!greeted && expected.every((member) => present.has(member))) {
      tunnel.send(`hello from ${name}`);
      greeted = true;
    }
  }
  return { ...tunnel.told(), welcomed, said, ...await tunnel.close(1000) };
}

const { positionals: [scenario], values } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string" }, ca: { type: "string" }, name: { type: "string" }, expect: { type: "string" },
    // Where the URL's host is, if the system's resolver does not know.
    address: { type: "string" },
  },
});
const url = new URL(values.url);
const lookup = (_, { all }, found) => (all ? found(null, [{ address: values.address, family: 4 }]) : found(null, values.address, 4));
const session = http2.connect(url.origin, {
  ...(values.ca ? { ca: readFileSync(values.ca) } : {}),
  ...(values.address ? { lookup } : {}),
});
await within(once(session, "remoteSettings"), "SETTINGS");
console.log(JSON.stringify(await { echo, chat }[scenario](session, url, values)));
session.close();
