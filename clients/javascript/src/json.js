/** Exact texts within JSON that is known to be valid. */

const QUOTE = 34;
const BACKSLASH = 92;

/** @param {string} text @param {number} at */
function skipSpace(text, at) {
  while (at < text.length && text.charCodeAt(at) <= 32) at += 1;
  return at;
}

/** Behind the string that begins at `at`. @param {string} text @param {number} at */
function skipString(text, at) {
  for (at += 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at += 1;
  }
  return at;
}

/** Behind the value that begins at `at`. @param {string} text @param {number} at */
function skipValue(text, at) {
  let depth = 0;
  while (at < text.length) {
    const char = text[at];
    if (char === '"') {
      at = skipString(text, at);
      if (depth === 0) return at;
    } else if (char === "{" || char === "[") {
      depth += 1;
      at += 1;
    } else if (char === "}" || char === "]") {
      if (depth === 0) return at;
      depth -= 1;
      at += 1;
      if (depth === 0) return at;
    } else if (depth === 0 && (char === "," || text.charCodeAt(at) <= 32)) {
      return at;
    } else {
      at += 1;
    }
  }
  return at;
}

/**
 * The text of a member of the object that `text` is; the last one of that name.
 * @param {string} text valid JSON
 * @param {string} name
 */
export function memberText(text, name) {
  /** @type {string | undefined} */
  let found;
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] === '"') {
    const end = skipString(text, at);
    const isIt = JSON.parse(text.slice(at, end)) === name;
    const start = skipSpace(text, skipSpace(text, end) + 1);
    at = skipValue(text, start);
    if (isIt) found = text.slice(start, at);
    at = skipSpace(text, skipSpace(text, at) + 1);
  }
  return found;
}

/**
 * The texts of the elements of the array that `text` is.
 * @param {string} text valid JSON
 */
export function elementTexts(text) {
  const found = [];
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (at < text.length && text[at] !== "]") {
    const end = skipValue(text, at);
    found.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return found;
}

/** Whether it is a JSON object. @param {unknown} value @returns {value is Record<string, unknown>} */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
