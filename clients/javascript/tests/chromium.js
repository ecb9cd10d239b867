// A page in headless Chromium, whose files are served from here.

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
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--disable-sync",
  "--no-first-run",
  "--no-proxy-server",
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

export class Page {
  #server;
  #chromium;
  #folder;

  /**
   * Serves a page, which finds its task at `/task`; `told` is called with
   * each JSON value that it sends to `/told`.
   */
  static async serve(script, told) {
    const page = new Page();
    page.#server = createServer(async (request, response) => {
      const answer = (type, body) => response.writeHead(200, { "Content-Type": type }).end(body);
      if (request.url === "/") return answer("text/html", `<!doctype html><script type="module">${script}</script>`);
      if (request.url === "/task") return answer("application/json", JSON.stringify(page.task));
      if (/^\/(src|tests)\/\w+\.js$/.test(request.url)) {
        return answer("text/javascript", await readFile(new URL(`..${request.url}`, import.meta.url)));
      }
      if (request.url !== "/told") return response.writeHead(404).end();
      let body = "";
      for await (const part of request) body += part;
      response.end();
      told(JSON.parse(body));
    });
    await new Promise((done) => page.#server.listen(0, "127.0.0.1", done));
    page.origin = `http://127.0.0.1:${page.#server.address().port}`;
    return page;
  }

  /** Opens the page. */
  async open(task, flags = []) {
    this.task = task;
    this.#folder = await mkdtemp(join(tmpdir(), "changeagent-page-"));
    const all = [...FLAGS, ...flags, `--user-data-dir=${this.#folder}`, `${this.origin}/`];
    this.#chromium = spawn("chromium", all, { stdio: "ignore" });
  }

  async close() {
    this.#server.close();
    if (!this.#chromium) return;
    const ended = new Promise((done) => this.#chromium.once("exit", done));
    this.#chromium.kill("SIGKILL");
    await ended;
    this.#server.closeAllConnections();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
