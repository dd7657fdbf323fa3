// Chromium on the demo page, held to one HTTP version, driven by playwright-core.
//
// Owns the browser's flags and what it does on the page. Says on standard output, as one JSON object, what it saw;
// whoever runs it judges. Must not know what stands behind the server.
//
//     node browser.mjs --url https://localhost:8443/ --version h3 --spki BASE64 --directory /tmp/somewhere
//
// The directory gets the profile, the net log (net-log.json) and a screenshot (page.png).

import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { handshakes } from "./netlog.mjs";

// The guard of each step on the page: far above what any of them takes.
const TIMEOUT_MS = 30_000;

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    version: { type: "string" },
    spki: { type: "string" },
    // Where the URL's host name is.
    address: { type: "string", default: "127.0.0.1" },
    directory: { type: "string" },
    chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
  },
});
const url = new URL(options.url);
const netLog = join(options.directory, "net-log.json");

const versions = {
  h1: ["--disable-http2", "--disable-quic"],
  h2: ["--disable-quic"],
  // RFC 9220 is off by default, and used only on an HTTP/3 connection that is there already: the page's own.
  h3: ["--enable-quic", "--enable-features=EnableWebsocketsOverHttp3", `--origin-to-force-quic-on=${url.hostname}:${url.port || 443}`],
};

const context = await chromium.launchPersistentContext(join(options.directory, "profile"), {
  executablePath: options.chromium,
  headless: true,
  timeout: TIMEOUT_MS,
  // playwright switches features off in a flag of its own, which must not hide ours.
  args: [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=MAP ${url.hostname} ${options.address}`,
    `--ignore-certificate-errors-spki-list=${options.spki}`,
    `--log-net-log=${netLog}`, "--net-log-capture-mode=Everything",
    ...versions[options.version],
  ],
});

const seen = { errors: [] };
try {
  const page = context.pages()[0] ?? await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") seen.errors.push(message.text()); });

  await page.goto(url.href);
  seen.udp = [await page.evaluate(() => window.headrace.udp)];
  await page.reload();
  seen.udp.push(await page.evaluate(() => window.headrace.udp));
  seen.notice = await page.locator("#notice").textContent();
  seen.page = await page.evaluate(() => window.headrace.protocol());
  seen.versionShown = await page.locator("#version").textContent();
  seen.fetched = await page.evaluate(() => window.headrace.fetchBytes(65536));
  seen.echo = await page.evaluate(() => window.headrace.echo({
    protocols: ["echo.v1", "echo.v2"],
    messages: ["hello", "grüße", { binary: [0, 1, 127, 128, 255] }, "x".repeat(100_000)],
    code: 4001,
  }));
  seen.echo.messages = seen.echo.messages.map((message) => message.length > 1000 ? message.length : message);
  seen.refused = await page.evaluate(() => window.headrace.echo({ path: "/nowhere" }).then(() => "opened", String));

  // As a person would: the buttons, the plot, the chat.
  await page.click("#open-one");
  await page.click("#open-five");
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#tunnels tr")];
    return rows.length === 6 && rows.every((row) => Number(row.cells[5].textContent) >= 4);
  });
  await page.fill("#chat-line", "ann");
  await page.click("#chat-send");
  await page.waitForFunction(() => document.querySelector("#chat-state").textContent === "joined as ann");
  await page.fill("#chat-line", "hello, room");
  await page.click("#chat-send");
  await page.waitForFunction(() => document.querySelector("#chat-log").textContent.includes("ann hello, room"));
  await page.click("#fetch");
  await page.waitForFunction(() => document.querySelector("#fact-fetch").textContent.startsWith("65536"));
  await page.screenshot({ path: join(options.directory, "page.png"), fullPage: true });
  await page.click("#close-all");
  await page.waitForFunction(() => document.querySelectorAll("#tunnels tr").length === 0);
  seen.chat = await page.evaluate(async () => {
    const visit = await window.headrace.joinChat({ name: "bob" });
    visit.say("bye");
    const said = await visit.until((event) => event.event === "say" && event.name === "bob");
    const { code } = await visit.leave(4002);
    return { subprotocol: visit.subprotocol, text: said.text, code };
  });
} finally {
  await context.close();
}
seen.handshakes = handshakes(netLog);
console.log(JSON.stringify(seen));
