// Real nodes for tests: the program that CHANGEAGENT names.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Keeps little, so that history is purged soon. */
export const SMALL = ["--segment-size", "2MiB", "--max-body", "1MiB", "--max-batch", "1000", "--retain-min-changes", "100"];
const USUAL = ["--segment-size", "32MiB"];
const PATIENCE_MS = 60_000;

/** Waits until `look` gives something. */
export async function eventually(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it does not come about: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** A node that keeps its data and its addresses when it is started again. */
export class RealNode {
  #child;
  #flags;

  static async start(flags = USUAL) {
    const node = new RealNode();
    node.#flags = flags;
    node.folder = await mkdtemp(join(tmpdir(), "changeagent-"));
    await node.#start("127.0.0.1:0");
    return node;
  }

  async #start(address) {
    const { CHANGEAGENT, ...environment } = process.env;
    const flags = ["--data", join(this.folder, "data"), "--listen", address, ...this.#flags];
    this.#child = spawn(CHANGEAGENT, flags, { env: environment, stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    for await (const part of this.#child.stdout) {
      said += part;
      if (said.endsWith("\n")) break;
    }
    this.url = /^listening (\S+)/.exec(said)?.[1];
    if (!this.url) throw new Error(`the node does not start: ${said}`);
  }

  async json(path) {
    const answer = await fetch(this.url + path);
    return answer.json();
  }

  /** Kills it, unless it is not there. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((done) => this.#child.once("exit", done));
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** Starts it again where it was. */
  async start({ clusterAddress } = {}) {
    if (clusterAddress) {
      this.#flags = this.#flags.map((flag, at) => (this.#flags[at - 1] === "--cluster-listen" ? clusterAddress : flag));
    }
    await this.#start(this.url.replace("http://", ""));
  }

  async remove() {
    await this.kill();
    await rm(this.folder, { recursive: true, maxRetries: 10 });
  }
}
