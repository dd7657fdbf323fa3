// Chromium on the demo page, with its own WebTransport, driven by playwright-core.
//
// Owns the browser's flags and what it does on the page. Says on standard output, as one JSON object, what it saw;
// whoever runs it judges. Must not know what stands behind the server.
//
//     node wt_browser.mjs --url https://localhost:8443/ --draft 02 --spki BASE64 --directory /tmp/somewhere
//
// The directory gets the profile and a screenshot (page.png).

import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

// The guard of each step on the page: far above what any of them takes.
const TIMEOUT_MS = 30_000;

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    draft: { type: "string", default: "02" },
    spki: { type: "string" },
    // Where the URL's host name is.
    address: { type: "string", default: "127.0.0.1" },
    directory: { type: "string" },
    chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
  },
});
const url = new URL(options.url);

// Chromium's default is draft 02.
const drafts = { "02": [], "07": ["--enable-features=EnableWebTransportDraft07"] };

const context = await chromium.launchPersistentContext(join(options.directory, "profile"), {
  executablePath: options.chromium,
  headless: true,
  timeout: TIMEOUT_MS,
  args: [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=MAP ${url.hostname} ${options.address}`,
    `--ignore-certificate-errors-spki-list=${options.spki}`,
    `--origin-to-force-quic-on=${url.hostname}:${url.port || 443}`,
    ...drafts[options.draft],
  ],
});

const seen = { errors: [] };
try {
  const page = context.pages()[0] ?? await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  await page.goto(url.href);
  seen.supported = await page.evaluate(() => window.headrace.hasWebTransport);

  // One session after the other, and then three at once on whatever connections the browser makes of them.
  seen.session = await page.evaluate(() => window.headrace.sessionEcho({
    path: "/webtransport?greet=3", greetings: 3, streams: 100, size: 20_000, oneWay: 5, datagrams: 5, code: 4001,
  }));
  seen.together = await page.evaluate(() => Promise.all([1, 2, 3].map((number) =>
    window.headrace.sessionEcho({ streams: 5, oneWay: 2, datagrams: 2, code: number, reason: `session ${number}` })
      .then(({ streams, closeCode }) => ({ streams: streams.length, whole: streams.every(Boolean), closeCode })))));
  seen.closedByServer = await page.evaluate(() => window.headrace.closedByServer(4321));
  seen.refused = await page.evaluate(() => window.headrace.sessionEcho({ path: "/nowhere" }).then(() => "opened", () => "refused"));

  // As a person would: the buttons, the plot.
  await page.click("#session-open");
  await page.waitForFunction(() => document.querySelector("#session-state").textContent === "connected");
  await page.click("#session-stream");
  await page.click("#session-one-way");
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#session-rows tr")];
    return rows.length === 3 && rows.every((row) => Number(row.cells[5].textContent) >= 4);
  });
  await page.waitForFunction(() => document.querySelector("#session-uni").textContent.startsWith("“message 1”"));
  await page.screenshot({ path: join(options.directory, "page.png"), fullPage: true });
  await page.click("#session-close");
  await page.waitForFunction(() => document.querySelector("#session-state").textContent.startsWith("closed"));
  await page.waitForFunction(() => document.querySelectorAll("#session-rows tr").length === 0);
  seen.state = await page.locator("#session-state").textContent();
  seen.rowsLeft = await page.locator("#session-rows tr").count();
} finally {
  await context.close();
}
console.log(JSON.stringify(seen));
