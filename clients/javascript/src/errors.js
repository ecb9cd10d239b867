/** What a call can fail of. */

/** The base of all errors of this package. */
export class ChangeAgentError extends Error {
  /**
   * Of a write: it may have happened all the same. Repeat it, with the same
   * arguments and with `idempotencyKey`, to know.
   */
  outcomeUnknown = false;
  /**
   * Of a write: the key that it bore.
   * @type {string | undefined}
   */
  idempotencyKey;

  /** @param {string} message @param {{cause?: unknown}} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * There was no answer, or only a part of one, or one that no node gives.
 *
 * A write that ended so may have happened: repeat it with its idempotency key.
 */
export class BrokenAnswer extends ChangeAgentError {}

/** The client was closed, or the signal of the call was aborted. */
export class Closed extends ChangeAgentError {}

/** Somebody else moved the position of this mirror meanwhile. */
export class Conflict extends ChangeAgentError {}

/** A node refused a request: see `code`, which is stable, and `detail`. */
export class ApiError extends ChangeAgentError {
  /**
   * @param {number} status
   * @param {Record<string, unknown>} problem the document that the node sent
   * @param {number} [retryAfterMs] how long the node asks to wait before another try
   */
  constructor(status, problem, retryAfterMs) {
    const code = String(problem.code ?? "");
    super(`${status} ${code}: ${problem.detail ?? ""}`);
    this.status = status;
    this.problem = problem;
    this.code = code;
    this.detail = String(problem.detail ?? "");
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether asking again may help. */
  get mayPass() {
    // What bears no code is not of a node, but of something in between.
    return this.code === "" || [408, 429, 500, 502, 503, 504].includes(this.status);
  }
}

/**
 * A list cannot be followed from this position: start anew.
 *
 * `code` is `purged` (`first` is the oldest id held), `other-history` (the ids are
 * of another history: `cluster` is the one found) or `not-found` (the list was
 * deleted).
 */
export class Reset extends ApiError {
  get first() {
    return typeof this.problem.first === "number" ? this.problem.first : undefined;
  }

  get cluster() {
    return typeof this.problem.cluster === "string" ? this.problem.cluster : undefined;
  }
}

/** @param {string} wanted @param {string} found */
export function otherHistory(wanted, found) {
  const detail = `the node serves the history ${found}, not ${wanted}`;
  return new Reset(409, { code: "other-history", detail, cluster: found });
}
