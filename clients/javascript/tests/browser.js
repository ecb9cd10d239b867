// The same driver, in a page in headless Chromium: `node browser.js JSON`.
//
// The page is served from here, so the nodes are of another origin; Chromium is told
// not to mind, as the nodes of the conformance program know nothing of origins.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Nothing but this machine is talked to.
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-web-security",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--disable-sync",
  "--no-first-run",
  "--no-proxy-server",
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

const PAGE = `<!doctype html><script type="module">
  import { perform } from "/tests/calls.js";
  const lines = [];
  const send = (end) => fetch("/lines", { method: "POST", body: JSON.stringify({ end, lines }) });
  try {
    await perform(await (await fetch("/task")).json(), (line) => lines.push(line));
    await send("");
  } catch (error) {
    await send(String(error.stack));
  }
</script>`;

const folder = await mkdtemp(join(tmpdir(), "changeagent-browser-"));
const end = await new Promise((resolve) => {
  let chromium;
  const server = createServer(async (request, response) => {
    const answer = (type, body) => response.writeHead(200, { "Content-Type": type }).end(body);
    if (request.url === "/") return answer("text/html", PAGE);
    if (request.url === "/task") return answer("application/json", process.argv[2]);
    if (/^\/(src|tests)\/\w+\.js$/.test(request.url)) {
      return answer("text/javascript", await readFile(new URL(`..${request.url}`, import.meta.url)));
    }
    if (request.url !== "/lines") return response.writeHead(404).end();
    let body = "";
    for await (const part of request) body += part;
    response.end();
    chromium.once("exit", () => resolve(JSON.parse(body)));
    server.close();
    chromium.kill("SIGKILL");
  });
  server.listen(0, "127.0.0.1", () => {
    const flags = [...FLAGS, `--user-data-dir=${folder}`, `http://127.0.0.1:${server.address().port}/`];
    chromium = spawn("chromium", flags, { stdio: "ignore" });
  });
});
await rm(folder, { recursive: true, force: true, maxRetries: 10 });
for (const line of end.lines) process.stdout.write(`${JSON.stringify(line)}\n`);
if (end.end) {
  process.stderr.write(`${end.end}\n`);
  process.exitCode = 1;
}
