// Firefox on the demo page, with its own WebTransport, driven by WebDriver BiDi.
//
// Owns the browser's profile and what it does on the page. Says on standard output, as one JSON object, what it saw;
// whoever runs it judges. Must not know what stands behind the server.
//
//     node wt_firefox.mjs --url https://localhost:8443/ --ca .headrace/ca.pem --directory /tmp/somewhere
//
// The directory gets the profile and a screenshot (page.png). Firefox's own logs come by its variables MOZ_LOG and
// MOZ_LOG_FILE: MOZ_LOG=nsHttp:3,WebTransport:5,neqo_http3::*:4 tells of its sessions.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import WebSocket from "ws";

// The guard of each step: far above what any of them takes.
const TIMEOUT_MS = 30_000;
// Between two looks at the page for something that is to come.
const LOOK_EVERY_MS = 50;

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    ca: { type: "string" },
    // Where the URL's host name is.
    address: { type: "string", default: "127.0.0.1" },
    directory: { type: "string" },
    firefox: { type: "string", default: process.env.FIREFOX ?? "/usr/bin/firefox-esr" },
  },
});

// What tests of browsers want beside these, Firefox sets itself where it is driven.
const preferences = {
  // Every host's, so that nothing that Firefox asks for by itself leaves this machine either.
  "network.dns.forceResolve": options.address,
  // By default Firefox keeps off HTTP/3, and with it off WebTransport, where a CA is trusted that did not come with it.
  "network.http.http3.disable_when_third_party_roots_found": false,
};

/** Makes a profile that trusts the CA. */
function makeProfile() {
  const profile = join(options.directory, "profile");
  mkdirSync(profile);
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`);
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const certutil = (...args) =>
    execFileSync("certutil", [...args, "-d", `sql:${profile}`], { stdio: ["ignore", "ignore", "inherit"] });
  certutil("-N", "--empty-password");
  certutil("-A", "-n", "development CA", "-t", "C,,", "-i", options.ca);
  return profile;
}

/** Resolves as the promise does, or rejects when that takes too long. */
function guarded(what, promise) {
  const rest = new AbortController();
  const late = sleep(TIMEOUT_MS, undefined, rest).then(() => { throw new Error(`${what} took too long`); });
  return Promise.race([promise, late]).finally(() => { late.catch(() => {}); rest.abort(); });
}

/** Starts Firefox: the process, and a promise of the URL of its WebDriver BiDi. */
function start() {
  const command = [options.firefox, "--headless", "--no-remote", "--profile", makeProfile(), "--remote-debugging-port", "0"];
  // However this script ends, Firefox ends with it.
  const firefox = spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
    // Standard output is for what was seen.
    stdio: ["ignore", 2, "pipe"],
    // What it writes beside the profile.
    env: { ...process.env, HOME: options.directory, XDG_CACHE_HOME: "", XDG_CONFIG_HOME: "" },
  });
  const endpoint = new Promise((resolve, reject) => {
    createInterface({ input: firefox.stderr }).on("line", (line) => {
      console.error(line);
      const said = /WebDriver BiDi listening on (ws:\S+)/.exec(line);
      if (said) resolve(said[1]);
    });
    firefox.once("error", reject);
    firefox.once("exit", (code) => reject(new Error(`Firefox ended with ${code}`)));
  });
  return { firefox, endpoint };
}

/** A connection to WebDriver BiDi: a function for commands, while events that come by themselves go to another. */
async function connect(endpoint, onEvent) {
  const socket = new WebSocket(`${endpoint}/session`, { perMessageDeflate: false });
  await guarded("WebDriver BiDi", once(socket, "open"));
  const waiting = new Map();
  let last = 0;
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.type === "event") return onEvent(message);
    const { resolve, reject } = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.type === "success") resolve(message.result);
    else reject(new Error(`${message.error}: ${message.message}`));
  });
  socket.on("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("Firefox closed WebDriver BiDi"));
  });
  return (method, params = {}) => guarded(method, new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    socket.send(JSON.stringify({ id: last, method, params }));
  }));
}

/** Opens the URL, and returns what can be done on the page. */
async function open(command) {
  await command("session.new", { capabilities: {} });
  await command("session.subscribe", { events: ["log.entryAdded"] });
  const { contexts: [{ context }] } = await command("browsingContext.getTree");
  await command("browsingContext.navigate", { context, url: options.url, wait: "complete" });

  const call = async (called) => {
    const params = { functionDeclaration: String(called), awaitPromise: true, target: { context } };
    const { type, result, exceptionDetails } = await command("script.callFunction", params);
    if (type !== "success") throw new Error(exceptionDetails.text);
    return result;
  };
  // As text, which is simpler than how WebDriver BiDi writes values.
  const evaluate = async (called) => JSON.parse((await call(`async () => JSON.stringify(await (${called})())`)).value);
  const waitFor = async (test) => {
    const late = Date.now() + TIMEOUT_MS;
    while (!await evaluate(test)) {
      if (Date.now() > late) throw new Error(`never so: ${test}`);
      await sleep(LOOK_EVERY_MS);
    }
  };
  const click = async (selector) => {
    const { sharedId } = await call(`() => {
      const element = document.querySelector("${selector}");
      element.scrollIntoView({ block: "center" });
      return element;
    }`);
    const actions = [
      { type: "pointerMove", x: 0, y: 0, origin: { type: "element", element: { sharedId } } },
      { type: "pointerDown", button: 0 },
      { type: "pointerUp", button: 0 },
    ];
    await command("input.performActions", { context, actions: [{ type: "pointer", id: "mouse", actions }] });
  };
  const screenshot = async (file) => {
    const { data } = await command("browsingContext.captureScreenshot", { context, origin: "document" });
    writeFileSync(file, Buffer.from(data, "base64"));
  };
  return { evaluate, waitFor, click, screenshot };
}

const seen = { errors: [] };
const { firefox, endpoint } = start();
const ended = new Promise((resolve) => { firefox.once("exit", resolve).once("error", resolve); });
try {
  const command = await connect(await guarded("the start", endpoint), ({ params }) => {
    if (params.type === "javascript" && params.level === "error") seen.errors.push(params.text);
  });
  const { evaluate, waitFor, click, screenshot } = await open(command);
  seen.supported = await evaluate(() => window.headrace.hasWebTransport);

  // One session after the other, and then three at once on whatever connections the browser makes of them.
  seen.session = await evaluate(() => window.headrace.sessionEcho({
    path: "/webtransport?greet=3", greetings: 3, streams: 100, size: 20_000, oneWay: 5, datagrams: 5, code: 4001,
  }));
  seen.together = await evaluate(() => Promise.all([1, 2, 3].map((number) =>
    window.headrace.sessionEcho({ streams: 5, oneWay: 2, datagrams: 2, code: number, reason: `session ${number}` })
      .then(({ streams, closeCode }) => ({ streams: streams.length, whole: streams.every(Boolean), closeCode })))));
  seen.closedByServer = await evaluate(() => window.headrace.closedByServer(4321));
  seen.refused = await evaluate(() =>
    window.headrace.sessionEcho({ path: "/nowhere" }).then(() => "opened", () => "refused"));

  // As a person would: the buttons, the plot.
  await click("#session-open");
  await waitFor(() => document.querySelector("#session-state").textContent === "connected");
  await click("#session-stream");
  await click("#session-one-way");
  await waitFor(() => {
    const rows = [...document.querySelectorAll("#session-rows tr")];
    return rows.length === 3 && rows.every((row) => Number(row.cells[5].textContent) >= 4);
  });
  await waitFor(() => document.querySelector("#session-uni").textContent.startsWith("“message 1”"));
  await screenshot(join(options.directory, "page.png"));
  await click("#session-close");
  await waitFor(() => document.querySelector("#session-state").textContent.startsWith("closed"));
  await waitFor(() => document.querySelectorAll("#session-rows tr").length === 0);
  seen.rowsLeft = await evaluate(() => document.querySelectorAll("#session-rows tr").length);
  seen.state = await evaluate(() => document.querySelector("#session-state").textContent);
} finally {
  firefox.kill("SIGKILL");
  await ended;
}
console.log(JSON.stringify(seen));
