/** A local copy of a list, or of the keys of a list, in SQLite (`node:sqlite` or `better-sqlite3`). */

import { ChangeAgentError, Conflict, Reset } from "./errors.js";
import { pathOf, query } from "./paths.js";
import { Tables } from "./tables.js";

/** How long to wait for another writer of the database. */
const BUSY_MS = 30_000;

/** @typedef {import("./tables.js").Database} Database */
/** @typedef {import("./tables.js").Keep} Keep */
/** @typedef {import("./model.js").Page} Page */
/**
 * @typedef {object} MirrorOptions
 * @property {Keep} [keep] what is kept in the table: all `changes` (the default), the
 *   current version of the live `keys`, or `nothing` but the position
 * @property {string} [table] its name, that of what is kept if none is given
 * @property {boolean} [rebuild] whether to empty the table and start anew after a `Reset`, if the list is still there
 * @property {(db: any, page: Page) => void} [onPage] called within the transaction of each
 *   page, for tables of your own; it must not commit, and not wait
 * @property {(db: any, reset: Reset) => void} [onReset] called within the transaction that empties the table
 */

/**
 * Follows a list into a table: the rows of each page and the position after them are
 * written in one transaction, so however it ends it goes on exactly there.
 */
export class Mirror {
  #tables;
  #options;
  #follow;
  /** @type {import("./tables.js").Place} */
  #at;

  /**
   * A copy in the file `path`.
   * @param {string} path
   * @param {MirrorOptions & import("./follow.js").FollowOptions} [options]
   */
  static async open(path, options) {
    const db = await openDatabase(path);
    db.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = NORMAL");
    return new Mirror(db, options);
  }

  /**
   * @param {Database} db a database of `node:sqlite` or `better-sqlite3`
   * @param {MirrorOptions & import("./follow.js").FollowOptions} [options]
   */
  constructor(db, options = {}) {
    const { keep = "changes", table, rebuild, onPage, onReset, ...follow } = options;
    const tags = follow.tags ?? [];
    if (keep === "keys" && (tags.length > 0 || pathOf(follow) === "")) {
      throw new RangeError("the keys are those of a tenant or of a collection, without tags");
    }
    const list = `${pathOf(follow)}/changes${query(tags.map((tag) => ["tag", tag]))}`;
    this.db = db;
    this.#options = { keep, rebuild, onPage, onReset };
    this.#follow = follow;
    this.#tables = new Tables(db, table ?? (keep === "nothing" ? "changes" : keep), keep, list);
    /** @type {import("./tables.js").Place} */
    this.#at = { position: undefined, loading: undefined };
    this.#transaction(() => {
      this.#tables.create();
      this.#at = this.#tables.read();
    });
  }

  /** How far this copy is; undefined before its first page. */
  get position() {
    return this.#at.position;
  }

  /** Follows the list until the client is closed or the signal aborts. @param {import("./client.js").Client} client */
  async run(client) {
    for await (const page of this.pages(client)) void page;
  }

  /**
   * The same; gives each page once it is in the database.
   * @param {import("./client.js").Client} client
   * @returns {AsyncGenerator<Page, void, void>}
   */
  async *pages(client) {
    for (;;) {
      try {
        if (this.#isLoading) {
          for await (const page of client.state(this.#state)) {
            const last = page.changes.at(-1);
            const loading = last ? `${last.collection}/${last.key}` : (this.#at.loading ?? "");
            this.#write(page, page.atEnd ? undefined : loading);
            yield page;
          }
          if (this.#isLoading) return;
        }
        const since = this.position ?? this.#follow.since ?? 0;
        for await (const page of client.pages({ ...this.#follow, since })) {
          this.#write(page, undefined);
          yield page;
        }
        return;
      } catch (error) {
        if (!(error instanceof Reset)) throw error;
        this.#startAnew(error);
      }
    }
  }

  get #isLoading() {
    return this.#options.keep === "keys" && (!this.#at.position || this.#at.loading !== undefined);
  }

  get #state() {
    const { tenant, collection, signal } = this.#follow;
    const { position, loading } = this.#at;
    const slash = loading?.indexOf("/") ?? -1;
    const resume = position && loading && slash > 0
      ? { position, collection: loading.slice(0, slash), key: loading.slice(slash + 1) }
      : undefined;
    return {
      ...(tenant !== undefined && { tenant }),
      ...(collection !== undefined && { collection }),
      ...(signal !== undefined && { signal }),
      ...(resume !== undefined && { resume }),
    };
  }

  /** @param {Page} page @param {string | undefined} loading */
  #write(page, loading) {
    this.#transaction(() => {
      this.#checkPlace();
      for (const change of page.changes) this.#tables.apply(change);
      const returned = /** @type {unknown} */ (this.#options.onPage?.(this.db, page));
      if (returned instanceof Promise) {
        returned.catch(() => {});
        throw new ChangeAgentError("a hook of a mirror must not wait");
      }
      this.#tables.move(page.position, loading);
    });
    this.#at = { position: page.position, loading };
  }

  /** @param {Reset} reset */
  #startAnew(reset) {
    if (!this.#options.rebuild || reset.code === "not-found") throw reset;
    this.#transaction(() => {
      this.#checkPlace();
      this.#tables.clear();
      this.#options.onReset?.(this.db, reset);
    });
    this.#at = { position: undefined, loading: undefined };
  }

  #checkPlace() {
    const { position, loading } = this.#tables.read();
    if (String(position) !== String(this.#at.position) || loading !== this.#at.loading) {
      throw new Conflict("another program writes to this copy");
    }
  }

  /** @param {() => void} work */
  #transaction(work) {
    this.db.exec("BEGIN IMMEDIATE");
    try {
      work();
      // Fails where a hook has committed.
      this.db.exec("COMMIT");
    } catch (error) {
      try {
        this.db.exec("ROLLBACK");
      } catch {
        // It has ended already.
      }
      throw error;
    }
  }
}

/** @param {string} path @returns {Promise<Database>} */
async function openDatabase(path) {
  // Names in variables: neither of the two must be there for the other to be used.
  const [builtIn, addOn] = ["node:sqlite", "better-sqlite3"];
  try {
    const { DatabaseSync } = await import(/** @type {string} */ (builtIn));
    return new DatabaseSync(path);
  } catch (error) {
    if (/** @type {any} */ (error).code !== "ERR_UNKNOWN_BUILTIN_MODULE") throw error;
  }
  const { default: BetterSqlite3 } = await import(/** @type {string} */ (addOn));
  return new BetterSqlite3(path);
}
