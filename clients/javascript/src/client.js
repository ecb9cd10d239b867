/** The client. */

import { BLOCK_MAX_MS, Core, checkCluster, numberOf } from "./core.js";
import { ApiError, BrokenAnswer } from "./errors.js";
import { Follower, readState } from "./follow.js";
import { Change, Page, parse } from "./model.js";
import { isDots, keyPath, pathOf, query, secondsOf } from "./paths.js";

const JSON_BODY = { "Content-Type": "application/json" };
/** Keys in one page. */
const KEYS_LIMIT = 1000;

/** @typedef {import("./paths.js").Where} Where */
/** @typedef {{signal?: AbortSignal}} Signal gives the call up */
/** @typedef {{idempotencyKey?: string}} Idempotency the key of an earlier try, if this is one more */
/** @typedef {{tags?: readonly string[], ttl?: number}} Extras tags, and seconds to live of a key */
/** @typedef {Extras & {data: unknown, tenant?: string, collection?: string, key?: string}} NewChange a change of a batch */
/** @typedef {{minId?: number, strong?: boolean}} Freshness asks for a state that is new enough */

/**
 * The nodes of one cluster.
 *
 * A node that fails is replaced by the next. Every call but `follow`, `pages` and
 * `state` gives an answer within `retries` tries or throws what the last one failed
 * of. Writes bear an idempotency key, so they happen once however often they are tried.
 *
 * A `tenant` is a UUID or a name; a `collection` is a UUID, or a name if its tenant
 * stands beside it.
 */
export class Client {
  #core;

  /**
   * @param {string | readonly string[]} nodes addresses such as `http://127.0.0.1:9000`
   * @param {import("./core.js").Options} [options]
   */
  constructor(nodes, options = {}) {
    this.#core = new Core(nodes, options);
  }

  /** Gives up all calls; what is followed just ends. */
  close() {
    this.#core.close();
  }

  /**
   * Appends a change: its id. Here a collection is named by its UUID.
   * @param {unknown} data
   * @param {Extras & Where & {key?: string} & Idempotency & Signal} [options]
   * @returns {Promise<number>}
   */
  append(data, options = {}) {
    const { tenant, collection, key, tags, ttl, idempotencyKey, signal } = options;
    const body = encode(newChange({ data, tenant, collection, key, tags, ttl }));
    const request = { method: "POST", target: "/changes", headers: JSON_BODY, body, signal };
    return this.#core.write(request, idempotencyKey, idOf);
  }

  /**
   * Appends objects such as `{data: 1, tags: ["a"]}`: all of them, or none. Their ids are consecutive.
   * @param {Iterable<NewChange>} changes
   * @param {{tenant?: string} & Idempotency & Signal} [options]
   * @returns {Promise<{first: number, last: number, count: number}>}
   */
  appendBatch(changes, { tenant, idempotencyKey, signal } = {}) {
    const target = `${pathOf({ tenant })}/changes`;
    const body = encode(Array.from(changes, newChange));
    const request = { method: "POST", target, headers: JSON_BODY, body, signal };
    return this.#core.write(request, idempotencyKey, (reply) => ({
      first: numberOf(reply, "first"),
      last: numberOf(reply, "last"),
      count: numberOf(reply, "count"),
    }));
  }

  /**
   * Writes a key: the id of the change, which is its version.
   *
   * With `ifMatch` only that version is replaced, with `ifAbsent` none; else it
   * throws an `ApiError` with the code `precondition-failed`.
   * @param {string} key
   * @param {unknown} data
   * @param {Where & Extras & {ifMatch?: number, ifAbsent?: boolean} & Idempotency & Signal} options
   * @returns {Promise<number>}
   */
  put(key, data, options) {
    const { tags, ttl, ifMatch, ifAbsent = false, idempotencyKey, signal } = options;
    const conditions = conditionsOf(ifMatch, ifAbsent);
    const isPost = isDots(key) && Object.keys(conditions).length === 0;
    const members = newChange({ data, tags, ttl, key: isPost ? key : undefined });
    const request = {
      method: isPost ? "POST" : "PUT",
      target: isPost ? `${pathOf(options)}/keys` : keyPath(options, key),
      headers: { ...JSON_BODY, ...conditions },
      body: encode(members),
      signal,
    };
    return this.#core.write(request, idempotencyKey, idOf);
  }

  /**
   * Deletes a key: the id of the change that says so, undefined where there was none.
   * @param {string} key
   * @param {Where & {ifMatch?: number} & Idempotency & Signal} options
   * @returns {Promise<number | undefined>}
   */
  delete(key, options) {
    const { ifMatch, idempotencyKey, signal } = options;
    const headers = conditionsOf(ifMatch, false);
    const request = { method: "DELETE", target: keyPath(options, key), headers, signal };
    return noneWhereAbsent(this.#core.write(request, idempotencyKey, idOf));
  }

  /**
   * Creates a tenant: its UUID. With `existOk` the one of that name will do.
   * @param {string} name
   * @param {{existOk?: boolean} & Signal} [options]
   */
  createTenant(name, options = {}) {
    return this.#create("/tenants", name, "tenant", options);
  }

  /**
   * Creates a collection: its UUID. With `existOk` the one of that name will do.
   * @param {string} tenant
   * @param {string} name
   * @param {{existOk?: boolean} & Signal} [options]
   */
  createCollection(tenant, name, options = {}) {
    return this.#create(`${pathOf({ tenant })}/collections`, name, "collection", options);
  }

  /**
   * @param {string} target @param {string} name @param {string} kind
   * @param {{existOk?: boolean} & Signal} options
   * @returns {Promise<string>}
   */
  async #create(target, name, kind, { existOk = false, signal }) {
    const request = { method: "POST", target, headers: JSON_BODY, body: encode({ name }), signal };
    try {
      return await this.#core.write(request, undefined, (reply) => {
        const created = parse(reply.body)[kind];
        if (typeof created !== "string") throw new BrokenAnswer(`an answer has no ${kind}`);
        return created;
      });
    } catch (error) {
      const holder = error instanceof ApiError ? error.problem[kind] : undefined;
      const isTaken = error instanceof ApiError && error.code === "name-taken";
      if (existOk && isTaken && typeof holder === "string") return holder;
      throw error;
    }
  }

  /**
   * One page of a list.
   * @param {Where & {tags?: readonly string[], since?: number | "now", limit?: number, blockMs?: number} & Freshness & Signal} [options]
   * @returns {Promise<Page>}
   */
  read(options = {}) {
    const { tags = [], since = 0, limit = 100, blockMs = 0, signal } = options;
    const waitMs = Math.min(blockMs, BLOCK_MAX_MS);
    /** @type {[string, string | number | undefined][]} */
    const pairs = [["since", since], ["limit", limit], ["block", waitMs > 0 ? secondsOf(waitMs) : undefined]];
    pairs.push(...freshness(options));
    for (const tag of tags) pairs.push(["tag", tag]);
    const target = `${pathOf(options)}/changes${query(pairs)}`;
    return this.#core.call({ method: "GET", target, waitMs, signal }, (reply) =>
      Page.parse(reply.body, checkCluster(reply.headers, undefined)),
    );
  }

  /**
   * One change, undefined where there is none.
   * @param {number} id
   * @param {Signal} [options]
   */
  change(id, { signal } = {}) {
    return this.#get(`/changes/${id}`, signal);
  }

  /**
   * The current version of a key, undefined where it is absent.
   * @param {string} key
   * @param {Where & Freshness & Signal} options
   * @returns {Promise<Change | undefined>}
   */
  async get(key, options) {
    const pairs = freshness(options);
    if (!isDots(key)) return this.#get(keyPath(options, key) + query(pairs), options.signal);
    // No address leads to it, but the list of keys has it.
    const { keys } = await this.#keys(options, [["prefix", key], ["limit", 1], ...pairs], options.signal);
    return keys[0]?.key === key ? keys[0] : undefined;
  }

  /**
   * The current versions of all keys, in the order of their bytes.
   * @param {Where & {prefix?: string, limit?: number} & Signal} options
   * @returns {AsyncGenerator<Change, void, void>}
   */
  async *keys(options) {
    const { prefix, limit = KEYS_LIMIT, signal } = options;
    /** @type {string | undefined} */
    let after;
    for (;;) {
      const { keys, atEnd } = await this.#keys(options, [["after", after], ["prefix", prefix], ["limit", limit]], signal);
      yield* keys;
      after = keys.at(-1)?.key;
      if (atEnd || after === undefined) return;
    }
  }

  /** @param {string} target @param {AbortSignal | undefined} signal */
  #get(target, signal) {
    return noneWhereAbsent(
      this.#core.call({ method: "GET", target, signal }, (reply) =>
        new Change(reply.body, checkCluster(reply.headers, undefined)),
      ),
    );
  }

  /** @param {Where} where @param {[string, string | number | undefined][]} pairs @param {AbortSignal | undefined} signal */
  #keys(where, pairs, signal) {
    const target = `${pathOf(where)}/keys${query(pairs)}`;
    return this.#core.call({ method: "GET", target, signal }, (reply) =>
      Page.parseKeys(reply.body, checkCluster(reply.headers, undefined)),
    );
  }

  /**
   * Follows a list for ever, page by page.
   *
   * Store the position of a page together with what you make of it, and pass it as
   * `since` when you start again: then each change counts exactly once. The first
   * answer gives a page even if it is empty, so that its position is known; later
   * ones only where the position moves. Throws `Reset` where the list cannot be
   * followed from there.
   * @param {import("./follow.js").FollowOptions} [options]
   */
  pages(options = {}) {
    return new Follower(this.#core, options).run();
  }

  /**
   * The same, change by change; each has its position.
   * @param {import("./follow.js").FollowOptions} [options]
   * @returns {AsyncGenerator<Change, void, void>}
   */
  async *follow(options = {}) {
    for await (const page of this.pages(options)) yield* page.changes;
  }

  /**
   * The current changes of all live keys, in pages of one position; the last has `atEnd`.
   *
   * Then follow from that position, and take a change only if its id is above the
   * one that you hold of its key.
   * @param {Where & {resume?: import("./follow.js").Resume} & Signal} options
   */
  state(options) {
    return readState(this.#core, options);
  }
}

/** @param {unknown} value */
function encode(value) {
  return JSON.stringify(value);
}

/** The body of a write. @param {{data: unknown, tenant?: string | undefined, collection?: string | undefined, key?: string | undefined, tags?: readonly string[] | undefined, ttl?: number | undefined}} change */
function newChange({ data, tenant, collection, key, tags, ttl }) {
  if (JSON.stringify(data) === undefined) throw new TypeError("data is not a JSON value");
  return { tenant, collection, key, tags: tags?.length ? tags : undefined, ttl, data };
}

/** @param {number | undefined} ifMatch @param {boolean} ifAbsent @returns {Record<string, string>} */
function conditionsOf(ifMatch, ifAbsent) {
  if (ifMatch !== undefined && ifAbsent) throw new RangeError("a key cannot have a version and be absent");
  if (ifAbsent) return { "If-None-Match": "*" };
  return ifMatch === undefined ? {} : { "If-Match": `"${ifMatch}"` };
}

/** @param {Freshness} options @returns {[string, string | number | undefined][]} */
function freshness({ minId, strong }) {
  return [["min_id", minId], ["consistency", strong ? "strong" : undefined]];
}

/** @template T @param {Promise<T>} call */
async function noneWhereAbsent(call) {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiError && error.code === "not-found") return undefined;
    throw error;
  }
}

/** @param {import("./core.js").Reply} reply */
function idOf(reply) {
  return numberOf(reply, "_id");
}
