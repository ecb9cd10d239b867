/** Changes, pages of them, and positions in a history. */

import { BrokenAnswer } from "./errors.js";
import { elementTexts, isObject, memberText } from "./json.js";

/**
 * A place in one history: after the change `id` of the history `cluster`.
 *
 * `toString()` gives a form to store, `Position.parse` reads it.
 */
export class Position {
  /** @param {string} cluster @param {number} id */
  constructor(cluster, id) {
    this.cluster = cluster;
    this.id = id;
  }

  toString() {
    return `${this.cluster}/${this.id}`;
  }

  /** @param {string} text */
  static parse(text) {
    const parts = /^(.+)\/(\d{1,16})$/.exec(text);
    if (!parts?.[1] || !Number.isSafeInteger(Number(parts[2]))) {
      throw new RangeError(`not a position: ${JSON.stringify(text)}`);
    }
    return new Position(parts[1], Number(parts[2]));
  }
}

/** One change. `position` is what to follow from, once it is dealt with. */
export class Change {
  /** @type {string} */
  #text;

  /**
   * @param {string} text as a node sent it
   * @param {string} cluster
   */
  constructor(text, cluster) {
    const members = parse(text);
    if (!Number.isSafeInteger(members._id) || !Number.isSafeInteger(members._ts)) {
      throw new BrokenAnswer("a change without an id and a time");
    }
    this.#text = text;
    /** All members that the node sent. */
    this.members = members;
    this.id = /** @type {number} */ (members._id);
    /** Microseconds since 1970. */
    this.ts = /** @type {number} */ (members._ts);
    this.position = new Position(cluster, this.id);
    this.tenant = /** @type {string | undefined} */ (members.tenant);
    this.collection = /** @type {string | undefined} */ (members.collection);
    this.key = /** @type {string | undefined} */ (members.key);
    this.tags = /** @type {readonly string[]} */ (members.tags ?? []);
    /** The value, as `JSON.parse` reads it; undefined where there is none. */
    this.data = /** @type {any} */ (members.data);
    /** It deletes its key, or without one its collection, or its tenant. */
    this.deleted = members.deleted === true;
  }

  /** The exact text of the value; undefined in deletions and where it was redacted. */
  get dataJson() {
    return memberText(this.#text, "data");
  }
}

/** Some changes in a row, perhaps none, and the position after them. */
export class Page {
  /**
   * @param {readonly Change[]} changes
   * @param {Position} position
   * @param {boolean} atEnd whether the node had nothing more at that moment
   */
  constructor(changes, position, atEnd) {
    this.changes = changes;
    this.position = position;
    this.atEnd = atEnd;
  }

  /** @param {string} body @param {string} cluster */
  static parse(body, cluster) {
    const found = parse(body);
    if (!Number.isSafeInteger(found.last) || typeof found.atEnd !== "boolean") {
      throw new BrokenAnswer("not a page of changes");
    }
    const changes = listed(body, found, "changes", cluster);
    return new Page(changes, new Position(cluster, /** @type {number} */ (found.last)), found.atEnd);
  }

  /** The changes in a page of keys, and whether these are the last. @param {string} body @param {string} cluster */
  static parseKeys(body, cluster) {
    const found = parse(body);
    if (typeof found.atEnd !== "boolean") throw new BrokenAnswer("not a page of keys");
    return { keys: listed(body, found, "keys", cluster), atEnd: found.atEnd };
  }
}

/** @param {string} body @param {Record<string, unknown>} found @param {string} member @param {string} cluster */
function listed(body, found, member, cluster) {
  const text = memberText(body, member);
  if (text === undefined || !Array.isArray(found[member])) {
    throw new BrokenAnswer(`not a page of ${member}`);
  }
  return elementTexts(text).map((one) => new Change(one, cluster));
}

/** Reads a JSON object. @param {string} text */
export function parse(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch (cause) {
    throw new BrokenAnswer("an answer is not JSON", { cause });
  }
  if (!isObject(found)) throw new BrokenAnswer("an answer is not a JSON object");
  return found;
}
