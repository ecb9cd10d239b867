/** Paths and queries of the API. */

/** Whether a browser would take it for a step in the path instead of a name. @param {string} text */
export function isDots(text) {
  return text === "." || text === "..";
}

/** One segment of a path. @param {string} text */
function segment(text) {
  if (isDots(text)) throw new RangeError(`${JSON.stringify(text)} cannot stand in an address`);
  return encodeURIComponent(text);
}

/** @typedef {{tenant?: string | undefined, collection?: string | undefined}} Where which tenant (UUID or name), which collection (UUID, or name beside its tenant) */

/** The path of a tenant, a collection, or nothing for everything. @param {Where} where */
export function pathOf({ tenant, collection }) {
  if (tenant !== undefined && collection !== undefined) {
    return `/tenants/${segment(tenant)}/collections/${segment(collection)}`;
  }
  if (tenant !== undefined) return `/tenants/${segment(tenant)}`;
  return collection === undefined ? "" : `/collections/${segment(collection)}`;
}

/** @param {Where} where @param {string} key */
export function keyPath(where, key) {
  return `${pathOf(where)}/keys/${segment(key)}`;
}

/** Seconds as the API takes them, to the microsecond. @param {number} ms */
export function secondsOf(ms) {
  return (ms / 1000).toFixed(6).replace(/\.?0+$/, "");
}

/**
 * `?a=1&b=2`; what is undefined is left out.
 * @param {[string, string | number | undefined][]} pairs
 */
export function query(pairs) {
  const given = pairs.filter(([, value]) => value !== undefined);
  const text = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&");
  return text && `?${text}`;
}
