// What a task of the conformance program asks for, in Node.js and in browsers.

import { ApiError, Change, ChangeAgentError, Client, Page, Position, Reset } from "../src/index.js";

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

async function run({ client, say, mirrorOf }, { op, until_data, until_id, block, if_match, if_absent, idempotency_key, since, ...call }) {
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
      if (position.id >= until_id) break;
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

function told(say, result) {
  if (result instanceof Change) return show(result);
  if (!(result instanceof Page)) return result ?? null;
  for (const change of result.changes) say({ change: show(change) });
  return { position: String(result.position) };
}

/**
 * Makes the calls of a task one after another; `say` is told each line, `mirrorOf`
 * makes the pages of a copy.
 */
export async function perform(task, say, mirrorOf) {
  const client = new Client(task.nodes, optionsOf(task.options));
  for (const call of task.calls) {
    try {
      say({ ok: told(say, await run({ client, say, mirrorOf }, call)) });
    } catch (error) {
      if (!(error instanceof ChangeAgentError)) throw error;
      say({ error: failure(error) });
    }
  }
  client.close();
}
