// The driver of the JavaScript client for the conformance program: `node driver.js JSON`.

import { ApiError, Change, ChangeAgentError, Client, Page, Position, Reset } from "../src/index.js";
import { Mirror } from "../src/mirror.js";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const show = (change) => [change.id, change.dataJson ?? null, String(change.position)];
const ms = (seconds) => (seconds === undefined ? undefined : seconds * 1000);
// What is not given must be absent, not undefined.
const given = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

function failure(error) {
  const told = { outcome_unknown: error.outcomeUnknown, idempotency_key: error.idempotencyKey ?? null, kind: "broken" };
  if (error instanceof ApiError) {
    const { status, code, detail, problem } = error;
    Object.assign(told, { kind: "refused", status, code, detail, problem });
  }
  if (error instanceof Reset) {
    Object.assign(told, { kind: "reset", first: error.first ?? null, cluster: error.cluster ?? null });
  }
  return told;
}

function optionsOf({ token, cluster, retries, pause_min, pause_max, silence }) {
  return given({ token, cluster, retries, pauseMinMs: ms(pause_min), pauseMaxMs: ms(pause_max), silenceMs: ms(silence) });
}

async function mirrorOf(client, { path, keep, rebuild, ...follow }) {
  const onPage = (db, page) => {
    const insert = db.prepare("INSERT INTO seen VALUES (?)");
    for (const change of page.changes) insert.run(change.id);
  };
  const onReset = (db, reset) => {
    db.exec("DELETE FROM seen");
    db.prepare("INSERT INTO resets VALUES (?)").run(reset.code);
  };
  const mirror = await Mirror.open(path, { ...follow, keep, rebuild, onPage, onReset });
  mirror.db.exec("CREATE TABLE IF NOT EXISTS seen (id INTEGER); CREATE TABLE IF NOT EXISTS resets (code TEXT)");
  return mirror.pages(client);
}

async function run(client, { op, until_data, block, if_match, if_absent, idempotency_key, since, ...call }) {
  const where = typeof since === "string" && since !== "now" ? Position.parse(since) : since;
  const renamed = { since: where, blockMs: ms(block), ifMatch: if_match, ifAbsent: if_absent, idempotencyKey: idempotency_key };
  const options = given({ ...call, ...renamed });
  if (["follow", "state", "mirror"].includes(op)) {
    const pages =
      op === "follow" ? client.pages(options) : op === "state" ? client.state(options) : await mirrorOf(client, options);
    let position;
    for await (const page of pages) {
      position = page.position;
      if (op !== "mirror") for (const change of page.changes) say({ change: show(change) });
      if (until_data !== undefined && page.changes.some((change) => change.dataJson === until_data)) break;
    }
    return { position: String(position) };
  }
  const { data, key, changes, ...rest } = options;
  switch (op) {
    case "append":
      return client.append(data, key === undefined ? rest : { ...rest, key });
    case "append_batch":
      return client.appendBatch(changes, rest);
    case "put":
      return client.put(key, data, rest);
    case "delete":
      return client.delete(key, rest);
    case "get":
      return client.get(key, rest);
    case "read":
      return client.read(rest);
    case "keys":
      for await (const change of client.keys(rest)) say({ change: show(change) });
      return null;
    default:
      throw new Error(`no such call: ${op}`);
  }
}

function told(result) {
  if (result instanceof Change) return show(result);
  if (!(result instanceof Page)) return result ?? null;
  for (const change of result.changes) say({ change: show(change) });
  return { position: String(result.position) };
}

const task = JSON.parse(process.argv[2]);
const client = new Client(task.nodes, optionsOf(task.options));
for (const call of task.calls) {
  try {
    say({ ok: told(await run(client, call)) });
  } catch (error) {
    if (!(error instanceof ChangeAgentError)) throw error;
    say({ error: failure(error) });
  }
}
client.close();
