/** Following a list, and reading a state. */

import { ApiError, BrokenAnswer, Closed, Reset } from "./errors.js";
import { BLOCK_MAX_MS, Backoff, checkCluster, mayPass } from "./core.js";
import { readLines } from "./lines.js";
import { Change, Page, Position, parse } from "./model.js";
import { pathOf, query, secondsOf } from "./paths.js";

/** A node that answers that nothing is new without having waited is asked again after this. */
const UNASKED_MS = 200;

/**
 * @typedef {object} FollowOptions which list to follow, and how
 * @property {string} [tenant] UUID or name
 * @property {string} [collection] UUID, or name beside its tenant
 * @property {readonly string[]} [tags] only changes that bear one of these
 * @property {number | "now" | Position} [since] where to start (0)
 * @property {"wait" | "stream"} [mode] page after page, or one answer that is kept open ("wait")
 * @property {number} [limit] changes in one page (1,000)
 * @property {number} [blockMs] how long a node is asked to wait for something new (60,000)
 * @property {AbortSignal} [signal] ends it
 */

/** Pages of a list for ever, each change in exactly one of them. */
export class Follower {
  #core;
  #options;
  #path;
  /** Whether the list has every id. */
  #isDense;
  /** @type {string | undefined} */
  #cluster;
  #last = 0;
  #isNew = false;
  #hasAnswered = false;
  /** Nodes in a row that do not know the list. */
  #missing = 0;
  #backoff;

  /** @param {import("./core.js").Core} core @param {FollowOptions} options */
  constructor(core, options) {
    const { since = 0, tags = [], mode = "wait", limit = 1000, blockMs = 60_000, signal } = options;
    if (mode !== "wait" && mode !== "stream") throw new RangeError(`mode is wait or stream, not ${mode}`);
    this.#core = core;
    this.#options = { tags, mode, limit, blockMs, signal };
    this.#path = `${pathOf(options)}/changes`;
    this.#isDense = this.#path === "/changes" && tags.length === 0;
    this.#cluster = core.options.cluster;
    if (since instanceof Position) {
      this.#cluster = since.cluster;
      this.#last = since.id;
    } else if (since === "now") {
      this.#isNew = true;
    } else if (Number.isSafeInteger(since) && since >= 0) {
      this.#last = since;
    } else {
      throw new RangeError(`since is an id, a Position or "now", not ${since}`);
    }
    this.#backoff = new Backoff(core, Infinity);
  }

  /** @returns {AsyncGenerator<Page, void, void>} */
  async *run() {
    for (;;) {
      const node = this.#core.node;
      try {
        yield* this.#read(node);
      } catch (error) {
        if (error instanceof Closed) return;
        if (this.#isRefusedParameter(error)) continue;
        const passing = this.#check(error);
        this.#core.leave(node);
        try {
          await this.#backoff.after(passing, this.#options.signal);
        } catch (closed) {
          if (closed instanceof Closed) return;
          throw closed;
        }
      }
    }
  }

  /** @param {string} node */
  async *#read(node) {
    const asked = Date.now();
    const before = this.#last;
    if (this.#isNew || this.#options.mode === "wait") yield* this.#readPage(node);
    else yield* this.#readStream(node);
    if (this.#last === before && Math.abs(Date.now() - asked) < UNASKED_MS) {
      await this.#core.sleep(UNASKED_MS, this.#options.signal);
    }
  }

  /** An earlier node does not know `cluster`; its answers are checked all the same. @param {unknown} error */
  #isRefusedParameter(error) {
    if (!this.#core.namesCluster || !(error instanceof ApiError)) return false;
    if (error.code !== "invalid-parameter" || error.problem.parameter !== "cluster") return false;
    this.#core.namesCluster = false;
    return true;
  }

  /** Throws what asking again cannot help. @param {unknown} error */
  #check(error) {
    if (mayPass(error)) return error;
    if (!(error instanceof ApiError)) throw error;
    if (error.code === "not-found") {
      // A node that lies behind may not know it yet.
      this.#missing += 1;
      if (this.#missing < this.#core.nodes.length) return error;
    }
    if (["purged", "other-history", "not-found"].includes(error.code)) {
      throw new Reset(error.status, error.problem);
    }
    throw error;
  }

  /** @param {boolean} isStream @returns {import("./core.js").Request} */
  #request(isStream) {
    const { tags, limit, blockMs, signal } = this.#options;
    const waitMs = this.#isNew ? 0 : Math.min(blockMs, BLOCK_MAX_MS);
    /** @type {[string, string | number | undefined][]} */
    const pairs = [
      ["since", this.#isNew ? "now" : this.#last],
      ["limit", isStream ? undefined : this.#isNew ? 1 : limit],
      ["block", waitMs > 0 || isStream ? secondsOf(waitMs) : undefined],
      ["cursors", isStream ? "true" : undefined],
      ["cluster", this.#core.namesCluster ? this.#cluster : undefined],
    ];
    for (const tag of tags) pairs.push(["tag", tag]);
    return { method: "GET", target: this.#path + query(pairs), waitMs, signal };
  }

  /** @param {string} node */
  async *#readPage(node) {
    const reply = await this.#core.once(node, this.#request(false));
    this.#cluster = checkCluster(reply.headers, this.#cluster);
    const page = Page.parse(reply.body, this.#cluster);
    if (this.#isNew) {
      this.#isNew = false;
      this.#last = page.position.id;
      yield* this.#progress([], true, true);
    } else {
      yield* this.#handOver(page.changes, page.position.id, page.atEnd);
    }
  }

  /** @param {string} node */
  async *#readStream(node) {
    for await (const { lines, cluster } of readLines(this.#core, node, this.#request(true), this.#cluster)) {
      this.#cluster = cluster;
      const changes = [];
      let last = this.#last;
      let atEnd = false;
      for (const line of lines) {
        const cursor = cursorOf(line);
        atEnd = cursor !== undefined;
        if (cursor === undefined) {
          const change = new Change(line, cluster);
          changes.push(change);
          last = change.id;
        } else {
          last = cursor;
        }
      }
      yield* this.#handOver(changes, Math.max(last, this.#last), atEnd);
    }
  }

  /** Hands over those that were not yet, and moves on to `last`. @param {readonly Change[]} changes @param {number} last @param {boolean} atEnd */
  async *#handOver(changes, last, atEnd) {
    const fresh = [];
    let reached = this.#last;
    for (const change of changes) {
      if (change.id <= this.#last || change.id === reached) continue;
      if (change.id < reached) throw new BrokenAnswer("changes are out of order");
      if (this.#isDense && reached > 0 && change.id !== reached + 1) {
        throw new BrokenAnswer(`the changes after ${reached} are missing`);
      }
      fresh.push(change);
      reached = change.id;
    }
    if (last > reached && this.#isDense && reached > 0) {
      throw new BrokenAnswer(`the changes after ${reached} are missing`);
    }
    const moved = Math.max(reached, last) > this.#last;
    this.#last = Math.max(reached, last);
    yield* this.#progress(fresh, atEnd, moved);
  }

  /** @param {readonly Change[]} changes @param {boolean} atEnd @param {boolean} moved */
  async *#progress(changes, atEnd, moved) {
    this.#backoff.reset();
    this.#missing = 0;
    if ((moved || !this.#hasAnswered) && this.#cluster !== undefined) {
      this.#hasAnswered = true;
      yield new Page(changes, new Position(this.#cluster, this.#last), atEnd);
    }
  }
}

/** The id of a line `{"last":N}`; undefined of a change. @param {string} line */
function cursorOf(line) {
  if (line.startsWith('{"_id"')) return undefined;
  const found = parse(line);
  return found._id === undefined && Number.isSafeInteger(found.last) ? Number(found.last) : undefined;
}

/** @typedef {{position: Position, collection: string, key: string}} Resume a reading of a state that was broken off, and its last key */

/**
 * The current changes of all live keys, in pages that bear one position.
 * @param {import("./core.js").Core} core
 * @param {import("./paths.js").Where & {resume?: Resume | undefined, signal?: AbortSignal | undefined}} options
 * @returns {AsyncGenerator<Page, void, void>}
 */
export async function* readState(core, options) {
  if (options.tenant === undefined && options.collection === undefined) {
    throw new RangeError("the state is that of a tenant or of a collection");
  }
  const { resume, signal } = options;
  const path = `${pathOf(options)}/state`;
  /** That of the first reading. Invariant: no later reading is of an older state. */
  let position = resume?.position;
  let cluster = position?.cluster ?? core.options.cluster;
  let after = resume && `${resume.collection}/${resume.key}`;
  const backoff = new Backoff(core, core.options.retries);
  /** Nodes in a row that do not know the place. */
  let missing = 0;
  for (;;) {
    const node = core.node;
    try {
      // A node that lies behind the first one would leave out what is neither in its
      // state nor after the position.
      const target = path + query([["after", after], ["min_id", position?.id], ["cluster", cluster]]);
      let isFirst = true;
      let isEnded = false;
      for await (const batch of readLines(core, node, { method: "GET", target, signal }, cluster)) {
        cluster = batch.cluster;
        const changes = [];
        for (const line of batch.lines) {
          if (isFirst) position = positionOf(line, cluster, position);
          else if (line.startsWith('{"_id"')) changes.push(new Change(line, cluster));
          else isEnded = endOf(line);
          isFirst = false;
        }
        const last = changes.at(-1);
        if (last) {
          after = `${last.collection}/${last.key}`;
          backoff.reset();
          missing = 0;
        }
        if (position && (last || isEnded)) yield new Page(changes, position, isEnded);
        if (isEnded) return;
      }
      throw new BrokenAnswer("a state ended before its end");
    } catch (error) {
      if (error instanceof Closed) return;
      const passing = checkState(error, missing + 1 >= core.nodes.length);
      if (!mayPass(error)) missing += 1;
      core.leave(node);
      await backoff.after(passing, signal);
    }
  }
}

/** Throws what asking again cannot help. @param {unknown} error @param {boolean} isLast no other node may know the place */
function checkState(error, isLast) {
  if (mayPass(error)) return error;
  if (!(error instanceof ApiError)) throw error;
  // A node that lies behind may not know it yet.
  if (error.code === "not-found" && !isLast) return error;
  if (["other-history", "not-found"].includes(error.code)) throw new Reset(error.status, error.problem);
  throw error;
}

/** @param {string} line @param {string} cluster @param {Position | undefined} first that of the first reading */
function positionOf(line, cluster, first) {
  const { since } = parse(line);
  if (!Number.isSafeInteger(since)) throw new BrokenAnswer("a state does not begin with its position");
  if (first && Number(since) < first.id) throw new BrokenAnswer("the rest of a state is older than its beginning");
  return first ?? new Position(cluster, /** @type {number} */ (since));
}

/** @param {string} line */
function endOf(line) {
  if (parse(line).end !== true) throw new BrokenAnswer("a line of a state is neither a change nor its end");
  return true;
}
