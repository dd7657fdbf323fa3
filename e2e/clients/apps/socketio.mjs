// socket.io, as an application would use it: server and client.
//
//     node socketio.mjs serve                              prints its port, serves until it is killed
//     node socketio.mjs use --url https://localhost:8443   says what it saw as one JSON object
//
// The client trusts what NODE_EXTRA_CA_CERTS names. Must not know what stands between the two.

import { createServer } from "node:http";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const TIMEOUT_MS = 30_000;
const LARGE_OCTETS = 200_000;

async function serve(address) {
  const server = createServer();
  new Server(server).on("connection", (socket) => {
    socket.emit("greeting", { transport: socket.conn.transport.name });
    socket.on("reverse", (text, answer) => answer([...text].reverse().join("")));
    socket.on("sum", (octets, answer) => answer(octets.reduce((sum, octet) => sum + octet, 0)));
    socket.on("join", (room, answer) => { socket.join(room); answer(); });
    socket.on("tell", (room, text) => socket.to(room).emit("told", text));
    socket.on("leave", () => socket.disconnect(true));
  });
  server.listen(0, address);
  await once(server, "listening");
  console.log(server.address().port);
}

async function visit(url, transports) {
  const socket = io(url, { transports, reconnection: false, timeout: TIMEOUT_MS, forceNew: true });
  const failed = new Promise((_, reject) => {
    socket.on("connect_error", (error) => reject(new Error(`${transports}: ${error.message} ${error.description ?? ""}`)));
    setTimeout(() => reject(new Error(`${transports}: too late`)), TIMEOUT_MS).unref();
  });
  const upgraded = new Promise((resolve) => socket.io.engine.once("upgrade", ({ name }) => resolve(name)));
  const [greeting] = await Promise.race([once(socket, "greeting"), failed]);
  const upgrade = transports[0] === "polling" ? await Promise.race([upgraded, failed]) : null;

  const peer = socket.io.engine.transport.name;
  const ask = (...words) => socket.timeout(TIMEOUT_MS).emitWithAck(...words);
  const reversed = await ask("reverse", "headrace");
  const sum = await ask("sum", Buffer.alloc(LARGE_OCTETS, 1));
  await ask("join", "room");

  const other = io(url, { transports: ["websocket"], reconnection: false, forceNew: true });
  other.on("connect", () => other.emit("tell", "room", "through the room"));
  const [told] = await Promise.race([once(socket, "told"), failed]);
  other.disconnect();

  socket.emit("leave");
  const [reason] = await Promise.race([once(socket, "disconnect"), failed]);
  return { first: greeting.transport, upgrade, transport: peer, reversed, sum, told, reason };
}

const { positionals: [mode], values } = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string" }, address: { type: "string", default: "127.0.0.1" } },
});
if (mode === "serve") {
  await serve(values.address);
} else {
  const websocket = await visit(values.url, ["websocket"]);
  const polling = await visit(values.url, ["polling", "websocket"]);
  console.log(JSON.stringify({ websocket, polling }));
  process.exit(0);
}
