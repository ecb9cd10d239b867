/** Writes, reads and follows by the types that openapi-typescript makes: `use.js URL`. */
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Change = components["schemas"]["Change"];
declare const process: { argv: string[] };
// Of the forms that an answer may have: neither the streams of changes nor the page of a browser.
type Form = "application/json" | "application/problem+json";
const client = createClient<paths, Form>({ baseUrl: process.argv[2]! });

function check(holds: boolean, found: unknown): asserts holds {
  if (!holds) throw new Error(`this is not what was written: ${JSON.stringify(found)}`);
}

/** The changes after `since`, up to the one that says "last". */
async function follow(since: number): Promise<Change[]> {
  const found: Change[] = [];
  while (found.at(-1)?.data !== "last") {
    const { data: page, error } = await client.GET("/changes", { params: { query: { since, block: 10 } } });
    if (error) throw new Error(`${error.code}: ${error.detail}`);
    found.push(...page.changes);
    since = page.last;
  }
  return found;
}

async function append(body: paths["/changes"]["post"]["requestBody"]["content"]["application/json"]) {
  const { data, error } = await client.POST("/changes", { body });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  return data;
}

const one = await append({ data: { from: "typescript" }, tags: ["made"] });
const batch = await append([{ data: 1 }, { data: 2 }]);
check(batch.first === one._id! + 1 && batch.count === 2, batch);
const { data: change } = await client.GET("/changes/{id}", { params: { path: { id: one._id! } } });
check(change!._ts > 2 ** 40 && JSON.stringify(change!.data) === '{"from":"typescript"}', change);

const name = "typescript";
const { data: tenant } = await client.POST("/tenants", { body: { name } });
const path = { tenant: name };
const made = await client.POST("/tenants/{tenant}/collections", { params: { path }, body: { name: "keys" } });
const collection = made.data!.collection;
const place = { params: { path: { collection, key: "a/b" } } };
const { data: put } = await client.PUT("/collections/{collection}/keys/{key}", { ...place, body: { data: [1, null] } });
const { data: written } = await client.POST("/collections/{collection}/keys", {
  params: { path: { collection } },
  body: [{ key: "c", data: "d" }],
});
check(written?.first === put!._id + 1, written);
const { data: current } = await client.GET("/collections/{collection}/keys/{key}", place);
check(current?._id === put!._id && JSON.stringify(current.data) === "[1,null]", current);

const follower = follow(written.last!);
await append({ data: "first", tenant: name });
await append({ data: "last", tenant: name });
const followed = await follower;
check(followed.map((one) => one.data).join() === "first,last", followed);

const { error: problem } = await client.POST("/tenants", { body: { name } });
check(problem?.code === "name-taken" && problem.tenant === tenant!.tenant, problem);

const { data: cluster } = await client.GET("/cluster");
check(cluster!.leader === cluster!.node && cluster!.members[0]!.state === "leader", cluster);
console.log("the client for TypeScript wrote, read and followed");
