// The client against a real node: CHANGEAGENT=/path/to/changeagent node --test tests/node.test.js

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ApiError, Client, Position } from "../src/index.js";
import { RealNode } from "./real.js";

let node;

before(async () => {
  node = await RealNode.start();
});

after(() => node.remove());

async function place(name) {
  const client = new Client(node.url);
  const tenant = await client.createTenant(name, { existOk: true });
  const collection = await client.createCollection(tenant, "c", { existOk: true });
  return { client, tenant, collection };
}

test("appends and reads exactly", async () => {
  const { client, tenant } = await place("appends");
  assert.equal(await client.createTenant("appends", { existOk: true }), tenant);
  const first = await client.append({ n: 1.0 }, { tenant, tags: ["é"] });
  const batch = await client.appendBatch([{ data: 1.5 }, { data: null, tags: ["b"] }], { tenant });
  assert.deepEqual(batch, { first: first + 1, last: first + 2, count: 2 });
  const page = await client.read({ tenant, minId: batch.last });
  assert.deepEqual(page.changes.map(({ dataJson }) => dataJson), ['{"n":1}', "1.5", "null"]);
  assert.deepEqual(page.changes[0].tags, ["é"]);
  assert.equal((await client.change(first)).dataJson, '{"n":1}');
  const again = () => client.append("x", { tenant, idempotencyKey: "k" });
  assert.equal(await again(), await again());
  await assert.rejects(async () => client.append(undefined), TypeError);
});

test("keys and conditions", async () => {
  const { client, tenant, collection } = await place("keys");
  const at = { collection };
  const version = await client.put("a/b č", 1, { ...at, ifAbsent: true });
  await assert.rejects(client.put("a/b č", 2, { ...at, ifAbsent: true }), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.code, error.problem.current], ["precondition-failed", version]);
    return true;
  });
  const newer = await client.put("a/b č", 2, { ...at, ifMatch: version });
  assert.equal((await client.get("a/b č", { tenant, collection: "c" })).id, newer);
  // An address cannot name these two.
  const dots = await client.put("..", "dots", at);
  assert.equal((await client.get("..", at)).id, dots);
  assert.equal(await client.get(".", at), undefined);
  await assert.rejects(async () => client.delete("..", at), RangeError);
  const keys = [];
  for await (const change of client.keys({ ...at, limit: 1 })) keys.push(change.key);
  assert.deepEqual(keys, ["..", "a/b č"]);
  assert.ok(await client.delete("a/b č", at));
  assert.equal(await client.delete("a/b č", at), undefined);
});

test("follows through a restart in both modes", async () => {
  const { client, tenant } = await place("follows");
  const ids = [];
  for (let n = 0; n < 5; n += 1) ids.push(await client.append(n, { tenant }));
  for (const mode of ["wait", "stream"]) {
    const changes = client.follow({ tenant, mode });
    for (const id of ids) assert.equal((await changes.next()).value.id, id);
    await node.kill();
    await node.start();
    ids.push(await client.append("after", { tenant }));
    assert.equal((await changes.next()).value.id, ids.at(-1));
    await changes.return();
  }
});

test("an abort, and closing, end what waits", async () => {
  const { client, tenant } = await place("ends");
  for (const mode of ["wait", "stream"]) {
    for (const how of ["abort", "close"]) {
      const controller = new AbortController();
      const own = new Client(node.url);
      const pages = own.pages({ tenant, mode, since: "now", signal: controller.signal });
      assert.deepEqual((await pages.next()).value.changes, []);
      const next = pages.next();
      if (how === "abort") controller.abort();
      else own.close();
      assert.equal((await next).done, true);
    }
  }
  client.close();
});

test("the state of a collection", async () => {
  const { client, collection } = await place("state");
  const at = { collection };
  for (let n = 0; n < 10; n += 1) await client.put(`k${n % 4}`, n, at);
  await client.delete("k0", at);
  const seen = [];
  for await (const page of client.state(at)) seen.push(...page.changes.map(({ key, data }) => [key, data]));
  assert.deepEqual(seen, [["k1", 9], ["k2", 6], ["k3", 7]]);
});

test("positions are read as they are written", () => {
  assert.deepEqual(Position.parse("a/b/12"), new Position("a/b", 12));
  for (const wrong of ["", "12", "/12", "a/", "a/-1", "a/x", "a/99999999999999999"]) {
    assert.throws(() => Position.parse(wrong), RangeError);
  }
});
