// Compiled, not run: the types of the package as a user of TypeScript has them.

import { Client, Position, Reset, type Change } from "changeagent-client";
import { Mirror } from "changeagent-client/mirror";

const client = new Client(["http://a:9000", "http://b:9000"], { token: "t", retries: 3 });
const id: number = await client.append({ n: 1 }, { tenant: "foo", tags: ["a"] });
const found: Change | undefined = await client.get("k", { collection: "c", minId: id });
const text: string | undefined = found?.dataJson;
try {
  for await (const change of client.follow({ since: Position.parse(`${text}/1`), mode: "stream" })) {
    const tags: readonly string[] = change.tags;
    void tags;
  }
} catch (error) {
  if (error instanceof Reset) console.log(error.first, error.cluster);
}
const mirror = await Mirror.open("copy.db", { tenant: "foo", onPage: (db, page) => void [db, page.changes.length] });
await mirror.run(client);
// @ts-expect-error: there is no such mode.
client.pages({ mode: "push" });
// @ts-expect-error: a key needs a collection or a place.
await client.put("k", 1);
