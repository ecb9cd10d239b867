// A page in headless Chromium follows a quiet tenant of a cluster through retention, a restart of
// its node, and a fail-over: CHANGEAGENT=/path/to/changeagent node --test tests/page.test.js

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, test } from "node:test";

import { Client } from "../src/index.js";
import { Page } from "./chromium.js";
import { RealNode, SMALL, eventually } from "./real.js";

const MODES = ["wait", "stream"];
const SCRIPT = `
  import { Client } from "/src/index.js";
  const { nodes, modes, tenant } = await (await fetch("/task")).json();
  const tell = (line) => fetch("/told", { method: "POST", body: JSON.stringify(line) });
  async function follow(mode) {
    const client = new Client(nodes, { onRetry: (error) => tell({ mode, retry: String(error) }) });
    try {
      for await (const page of client.pages({ tenant, mode, since: "now", blockMs: 1000 })) {
        await tell({ mode, position: page.position.id, ids: page.changes.map(({ id }) => id) });
      }
    } catch (error) {
      await tell({ mode, failure: String(error.stack) });
    }
  }
  modes.forEach(follow);`;
const missing = spawnSync("chromium", ["--version"]).error !== undefined;

const nodes = [];
let page;
after(async () => {
  await page?.close();
  await Promise.all(nodes.map((node) => node.remove()));
});

async function cluster(origin) {
  const flags = [...SMALL, "--cluster-listen", "127.0.0.1:0", "--allow-origin", origin];
  nodes.push(await RealNode.start([...flags, "--found"]));
  nodes.push(await RealNode.start([...flags, "--join", nodes[0].url.replace("http://", "")]));
  nodes.push(await RealNode.start([...flags, "--join", nodes[0].url.replace("http://", "")]));
  return eventually("there are three voters", async () => {
    const { members } = await nodes[0].json("/cluster/members");
    const voters = members?.filter(({ role }) => role === "voter") ?? [];
    return voters.length === 3 && voters;
  });
}

/** The oldest change that a node holds. */
async function first(node) {
  const { changes } = await node.json("/changes?limit=1");
  return changes[0]?._id ?? 0;
}

test("a page follows a quiet tenant without a gap or a repeat", { skip: missing && process.env.CI !== "true" }, async () => {
  const followers = Object.fromEntries(MODES.map((mode) => [mode, { ids: [], position: undefined, retries: 0 }]));
  const failures = [];
  page = await Page.serve(SCRIPT, ({ mode, ids, position, retry, failure }) => {
    if (failure) failures.push(failure);
    if (retry) followers[mode].retries += 1;
    if (ids) followers[mode].ids.push(...ids);
    if (ids) followers[mode].position = position;
  });
  const everyone = async (what, holds) => {
    await eventually(what, () => failures.length > 0 || MODES.every((mode) => holds(followers[mode])));
    assert.deepEqual(failures, []);
  };
  const members = await cluster(page.origin);
  const client = new Client(nodes.map(({ url }) => url));
  const tenant = await client.createTenant("quiet");
  const wanted = [];
  const append = async () => {
    wanted.push(await client.append("quiet", { tenant }));
    await everyone("the change is followed", ({ ids }) => ids.length === wanted.length);
  };

  // The page asks a node first that is not the leader.
  await page.open({ nodes: [nodes[1].url, nodes[0].url, nodes[2].url], modes: MODES, tenant });
  await everyone("the page follows", ({ position }) => position !== undefined);
  await append();

  const noise = Array.from({ length: 500 }, () => ({ data: "x".repeat(900) }));
  for (let n = 0; n < 16; n += 1) await client.appendBatch(noise);
  for (const node of nodes) await eventually("history is purged", async () => (await first(node)) > wanted[0] + 1);
  const { changes: purged, code } = await nodes[0].json(`/changes?since=${wanted[0]}`);
  assert.deepEqual([purged, code], [undefined, "purged"]);
  const oldest = Math.max(...(await Promise.all(nodes.map(first))));
  await everyone("positions pass what was purged", ({ position }) => position >= oldest - 1);
  await append();

  await nodes[1].kill();
  const gone = new Client([nodes[0].url, nodes[2].url]);
  wanted.push(await gone.append("while its node is away", { tenant }));
  const { cluster_address: clusterAddress } = members.find(({ address }) => nodes[1].url.endsWith(address));
  await nodes[1].start({ clusterAddress });
  await everyone("the change is followed", ({ ids }) => ids.length === wanted.length);
  await append();

  const leader = await eventually("there is a leader", async () => {
    const { leader: id } = await nodes[1].json("/cluster");
    return members.find((member) => member.id === id);
  });
  await nodes.find(({ url }) => url.endsWith(leader.address)).kill();
  await append();

  for (const mode of MODES) {
    assert.deepEqual(followers[mode].ids, wanted, mode);
    assert.ok(followers[mode].retries > 0, "its node was never away");
  }
});
