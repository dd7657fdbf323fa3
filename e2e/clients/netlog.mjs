// Reads a Chromium net log for which HTTP version carried each WebSocket handshake.
//
// Owns the names of net log events. Must not know who wrote the log.

import { readFileSync } from "node:fs";

/** Chromium writes a comma after each event, and leaves the list open when it is killed. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(`${text.slice(0, text.lastIndexOf("}")).replace(/,\s*$/, "")}}]}`);
  }
}

/**
 * The handshakes in the log, in their order: { version, path }.
 *
 * An extended CONNECT shows as the headers of a stream, sent on an HTTP/2 or an HTTP/3 session; an Upgrade as the head
 * of an HTTP/1.1 request.
 */
export function handshakes(file) {
  const { constants, events } = parse(readFileSync(file, "utf8"));
  const names = Object.fromEntries(Object.entries(constants.logEventTypes).map(([name, type]) => [type, name]));
  const found = [];
  for (const { type, params } of events) {
    const extended = { HTTP2_SESSION_SEND_HEADERS: "h2", HTTP3_HEADERS_SENT: "h3" }[names[type]];
    if (extended) {
      const headers = fields(params?.headers);
      if (headers[":protocol"] === "websocket") found.push({ version: extended, path: headers[":path"] });
    } else if (names[type] === "HTTP_TRANSACTION_SEND_REQUEST_HEADERS") {
      const { line = "" } = params ?? {};
      if (line.startsWith("GET ") && fields(params.headers).upgrade === "websocket") {
        found.push({ version: "http/1.1", path: line.split(" ")[1] });
      }
    }
  }
  return found;
}

/** Headers are logged as a list of "name: value", or as an object. */
function fields(headers = []) {
  if (!Array.isArray(headers)) return headers;
  const pairs = headers.map((line) => /^(:?[^:]+):\s*(.*)$/s.exec(line)).filter(Boolean);
  return Object.fromEntries(pairs.map(([, name, value]) => [name.toLowerCase(), value]));
}
