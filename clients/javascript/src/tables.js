/**
 * The tables of a local copy, the same in all client libraries. Format 1.
 *
 * `changeagent_mirrors` has a row for each copy: how far it has come. `loading` is the
 * collection and key (`<collection>/<key>`) after which its state is still to be read,
 * and null once that is done.
 */

import { ChangeAgentError } from "./errors.js";
import { Position } from "./model.js";

const FORMAT = 1;
const MIRRORS = `CREATE TABLE IF NOT EXISTS changeagent_mirrors (
  name TEXT PRIMARY KEY, format INTEGER NOT NULL, keep TEXT NOT NULL, list TEXT NOT NULL,
  cluster TEXT, since INTEGER NOT NULL, loading TEXT)`;
const COLUMNS = {
  changes: `id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, tenant TEXT, collection TEXT, key TEXT,
  tags TEXT, data TEXT, deleted INTEGER NOT NULL)`,
  keys: `collection TEXT NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL, ts INTEGER NOT NULL,
  tenant TEXT, tags TEXT, data TEXT, PRIMARY KEY (collection, key)) WITHOUT ROWID`,
};

/** @typedef {"changes" | "keys" | "nothing"} Keep */
/**
 * What `node:sqlite` and `better-sqlite3` have in common.
 * @typedef {object} Database
 * @property {(sql: string) => unknown} exec
 * @property {(sql: string) => Statement} prepare
 * @property {() => unknown} close
 */
/** @typedef {{run: (...values: any[]) => unknown, get: (...values: any[]) => unknown, all: (...values: any[]) => unknown[]}} Statement */
/** @typedef {{position: Position | undefined, loading: string | undefined}} Place how far a copy is */

/** What one copy reads and writes, always within a transaction of its caller. */
export class Tables {
  #db;
  #name;
  #keep;
  #list;
  /** @type {Map<string, Statement>} */
  #prepared = new Map();

  /** @param {Database} db @param {string} name @param {Keep} keep @param {string} list */
  constructor(db, name, keep, list) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new RangeError(`not the name of a table: ${name}`);
    if (!["changes", "keys", "nothing"].includes(keep)) {
      throw new RangeError(`keep is changes, keys or nothing, not ${keep}`);
    }
    this.#db = db;
    this.#name = name;
    this.#keep = keep;
    this.#list = list;
  }

  create() {
    this.#db.exec(MIRRORS);
    if (this.#keep === "nothing") return;
    this.#db.exec(`CREATE TABLE IF NOT EXISTS ${this.#name} (${COLUMNS[this.#keep]}`);
  }

  /** How far the copy is; nothing before its first page. @returns {Place} */
  read() {
    const row = /** @type {any} */ (
      this.#statement(
        "SELECT format, keep, list, cluster, since, loading FROM changeagent_mirrors WHERE name = ?",
      ).get(this.#name)
    );
    if (row === undefined) return { position: undefined, loading: undefined };
    if (row.format !== FORMAT) {
      throw new ChangeAgentError(`the copy ${this.#name} has the format ${row.format}, not ${FORMAT}`);
    }
    if (row.keep !== this.#keep || row.list !== this.#list) {
      throw new ChangeAgentError(`the copy ${this.#name} keeps ${row.keep} of ${row.list}`);
    }
    return { position: new Position(row.cluster, row.since), loading: row.loading ?? undefined };
  }

  /** @param {Position} position @param {string | undefined} loading */
  move(position, loading) {
    this.#statement("INSERT OR REPLACE INTO changeagent_mirrors VALUES (?, ?, ?, ?, ?, ?, ?)").run(
      this.#name, FORMAT, this.#keep, this.#list, position.cluster, position.id, loading ?? null,
    );
  }

  /** Back to before the first page. */
  clear() {
    if (this.#keep !== "nothing") this.#db.exec(`DELETE FROM ${this.#name}`);
    this.#statement("DELETE FROM changeagent_mirrors WHERE name = ?").run(this.#name);
  }

  /** @param {import("./model.js").Change} change */
  apply(change) {
    const { id, ts, tenant = null, collection = null, key = null } = change;
    const tags = change.tags.length > 0 ? JSON.stringify(change.tags) : null;
    const data = change.dataJson ?? null;
    if (this.#keep === "changes") {
      this.#statement(`INSERT INTO ${this.#name} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`).run(
        id, ts, tenant, collection, key, tags, data, change.deleted ? 1 : 0,
      );
    } else if (this.#keep === "keys" && change.deleted) {
      this.#delete(change);
    } else if (this.#keep === "keys" && key !== null) {
      // While a state is caught up with, older versions come after newer ones.
      this.#statement(`INSERT INTO ${this.#name} VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (collection, key) DO UPDATE SET id = excluded.id, ts = excluded.ts,
        tenant = excluded.tenant, tags = excluded.tags, data = excluded.data
        WHERE excluded.id > id`).run(collection, key, id, ts, tenant, tags, data);
    }
  }

  /** What a deletion takes with it: a key, a collection or a tenant. @param {import("./model.js").Change} change */
  #delete({ id, tenant, collection, key }) {
    const from = `DELETE FROM ${this.#name} WHERE`;
    if (key !== undefined) {
      this.#statement(`${from} collection = ? AND key = ? AND id < ?`).run(collection, key, id);
    } else if (collection !== undefined) {
      this.#statement(`${from} collection = ? AND id < ?`).run(collection, id);
    } else if (tenant !== undefined) {
      this.#statement(`${from} tenant = ? AND id < ?`).run(tenant, id);
    }
  }

  /** @param {string} sql */
  #statement(sql) {
    let prepared = this.#prepared.get(sql);
    if (prepared === undefined) {
      prepared = this.#db.prepare(sql);
      this.#prepared.set(sql, prepared);
    }
    return prepared;
  }
}
