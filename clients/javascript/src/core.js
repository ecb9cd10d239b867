/** Requests to several nodes, with retries. */

import { ApiError, BrokenAnswer, ChangeAgentError, Closed, Reset, otherHistory } from "./errors.js";
import { isObject } from "./json.js";
import { parse } from "./model.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** No node waits for longer, whatever it is asked for. */
export const BLOCK_MAX_MS = 300_000;
/** The longest pause that a node can ask for. */
const ASKED_MAX_MS = 60_000;

/**
 * @typedef {object} Options how a client behaves
 * @property {string} [token] what `Authorization: Bearer` bears
 * @property {string} [cluster] the history that every answer must be of, if it is known
 * @property {number} [retries] tries after the first one (10); what follows a list never gives up
 * @property {number} [pauseMinMs] the first pause between tries (100)
 * @property {number} [pauseMaxMs] the longest pause between tries (5,000)
 * @property {number} [timeoutMs] how long a node may be silent, besides what it was asked to wait (30,000)
 * @property {number} [silenceMs] how long a stream may be silent (40,000): nodes send something every 15 s
 * @property {number} [answerBytesMax] more is not taken in one answer, or in one line of a stream (64 MiB)
 * @property {typeof fetch} [fetch] instead of the one of the platform
 * @property {(error: Error, pauseMs: number) => void} [onRetry] told of each failure that is tried again
 */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} target
 * @property {string} [accept]
 * @property {Record<string, string>} [headers]
 * @property {string} [body]
 * @property {number} [waitMs] how long the node is asked to wait
 * @property {AbortSignal | undefined} [signal] gives the call up
 * @property {boolean} [inDoubt] it may have happened, whatever is answered when it is sent again
 */

/** @typedef {{status: number, headers: Headers, body: string}} Reply a whole answer */

/** An answer whose body is read piece by piece. */
export class Answer {
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #reader;
  #timer;

  /** @param {Response} response @param {Timer} timer */
  constructor(response, timer) {
    this.status = response.status;
    this.headers = response.headers;
    this.#reader = response.body?.getReader();
    this.#timer = timer;
  }

  /** The next bytes; undefined at the end. @param {number} timeoutMs */
  async read(timeoutMs) {
    this.#timer.restart(timeoutMs);
    try {
      const part = await this.#reader?.read();
      return part?.value;
    } catch (cause) {
      throw this.#timer.failure("an answer broke off", cause);
    } finally {
      this.#timer.pause();
    }
  }

  /** Ends it; the connection too if there is more to come. */
  close() {
    this.#timer.stop();
    this.#reader?.cancel().catch(() => {});
  }
}

/** Aborts a request in time, and when its client or its caller does. */
class Timer {
  #controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timeout;
  #timedOut = false;
  /** @type {AbortSignal[]} */
  #signals;
  #abort = () => this.#controller.abort();

  /** @param {(AbortSignal | undefined)[]} signals */
  constructor(signals) {
    this.#signals = signals.filter((signal) => signal !== undefined);
    for (const signal of this.#signals) signal.addEventListener("abort", this.#abort);
    if (this.#signals.some((signal) => signal.aborted)) this.#abort();
  }

  get signal() {
    return this.#controller.signal;
  }

  /** @param {number} ms */
  restart(ms) {
    clearTimeout(this.#timeout);
    this.#timeout = setTimeout(() => {
      this.#timedOut = true;
      this.#abort();
    }, ms);
  }

  pause() {
    clearTimeout(this.#timeout);
  }

  stop() {
    this.pause();
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#abort);
  }

  /** What a failed request is. @param {string} what @param {unknown} cause */
  failure(what, cause) {
    this.stop();
    if (this.#signals.some((signal) => signal.aborted)) return new Closed("given up", { cause });
    if (this.#timedOut) return new BrokenAnswer(`${what}: the node is silent`, { cause });
    const inner = /** @type {any} */ (cause);
    return new BrokenAnswer(`${what}: ${inner?.cause?.message ?? inner?.message ?? inner}`, { cause });
  }
}

/** The pauses between the tries of one thing. */
export class Backoff {
  #core;
  #retries;
  #failures = 0;
  #pauseMs = 0;
  /** @type {number[]} */
  #askedMs = [];

  /** @param {Core} core @param {number} retries */
  constructor(core, retries) {
    this.#core = core;
    this.#retries = retries;
    this.reset();
  }

  /** Something succeeded. */
  reset() {
    this.#failures = 0;
    this.#pauseMs = this.#core.options.pauseMinMs;
    this.#askedMs = [];
  }

  /**
   * Waits until the next try; throws the error where none is left.
   *
   * Another node is asked at once; when all have failed there is a pause, as
   * long as the most impatient of them asked for.
   * @param {ChangeAgentError} error
   * @param {AbortSignal | undefined} signal
   */
  async after(error, signal) {
    this.#failures += 1;
    if (this.#failures > this.#retries) throw error;
    const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
    this.#askedMs.push(Math.min(asked, ASKED_MAX_MS));
    let pauseMs = 0;
    if (this.#failures % this.#core.nodes.length === 0) {
      pauseMs = Math.min(...this.#askedMs) + this.#pauseMs * (0.5 + Math.random() / 2);
      this.#pauseMs = Math.min(this.#pauseMs * 2, this.#core.options.pauseMaxMs);
      this.#askedMs = [];
    }
    this.#core.options.onRetry?.(error, pauseMs);
    if (pauseMs > 0) await this.#core.sleep(pauseMs, signal);
  }
}

/** The nodes of one cluster. */
export class Core {
  #current = 0;
  #closed = new AbortController();
  /** Whether nodes are told which history is meant: earlier ones refuse it. */
  namesCluster = true;

  /** @param {string | readonly string[]} nodes @param {Options} options */
  constructor(nodes, options) {
    this.nodes = (typeof nodes === "string" ? [nodes] : [...nodes]).map(checkNode);
    if (this.nodes.length === 0) throw new RangeError("no node is named");
    this.options = {
      retries: 10,
      pauseMinMs: 100,
      pauseMaxMs: 5_000,
      timeoutMs: 30_000,
      silenceMs: 40_000,
      answerBytesMax: 64 << 20,
      ...options,
    };
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  /** The node that is asked next. */
  get node() {
    return /** @type {string} */ (this.nodes[this.#current % this.nodes.length]);
  }

  /** The node failed: the next one is asked from now on. @param {string} node */
  leave(node) {
    if (node === this.node) this.#current = (this.#current + 1) % this.nodes.length;
  }

  close() {
    this.#closed.abort();
  }

  /** @param {number} ms @param {AbortSignal | undefined} signal */
  async sleep(ms, signal) {
    const signals = [this.#closed.signal, signal];
    await new Promise((/** @type {(value?: unknown) => void} */ done) => {
      const end = () => {
        clearTimeout(timeout);
        for (const one of signals) one?.removeEventListener("abort", end);
        done();
      };
      const timeout = setTimeout(end, ms);
      for (const one of signals) one?.addEventListener("abort", end);
      if (signals.some((one) => one?.aborted)) end();
    });
    if (signals.some((one) => one?.aborted)) throw new Closed("given up");
  }

  /**
   * Sends a request and waits for the head of the answer.
   * @param {string} node
   * @param {Request} request
   */
  async exchange(node, request) {
    const { method, target, body, waitMs = 0 } = request;
    /** @type {Record<string, string>} */
    const headers = { Accept: request.accept ?? "application/json", ...request.headers };
    if (this.options.token !== undefined) headers.Authorization = `Bearer ${this.options.token}`;
    const timer = new Timer([this.#closed.signal, request.signal]);
    timer.restart(this.options.timeoutMs + waitMs);
    try {
      /** @type {RequestInit} */
      const init = { method, headers, signal: timer.signal, redirect: "error", credentials: "omit" };
      if (body !== undefined) init.body = body;
      return new Answer(await this.fetch(node + target, init), timer);
    } catch (cause) {
      throw timer.failure(node, cause);
    }
  }

  /** The whole body of an answer. @param {Answer} answer @param {number} waitMs */
  async body(answer, waitMs) {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let text = "";
    let size = 0;
    try {
      for (;;) {
        const part = await answer.read(this.options.timeoutMs + waitMs);
        if (part === undefined) return text + decoder.decode();
        size += part.length;
        if (size > this.options.answerBytesMax) {
          throw new ChangeAgentError("an answer is longer than answerBytesMax");
        }
        text += decoder.decode(part, { stream: true });
      }
    } catch (error) {
      if (error instanceof TypeError) throw new BrokenAnswer("an answer is not UTF-8", { cause: error });
      throw error;
    } finally {
      answer.close();
    }
  }

  /**
   * Asks one node once: a reply, or the error that it answered.
   * @param {string} node
   * @param {Request} request
   * @returns {Promise<Reply>}
   */
  async once(node, request) {
    const answer = await this.exchange(node, request);
    const { status, headers } = answer;
    const reply = { status, headers, body: await this.body(answer, request.waitMs ?? 0) };
    refuse(reply);
    if (this.options.cluster !== undefined) {
      // A node that does not know which history is meant writes into its own.
      request.inDoubt = true;
      checkCluster(headers, this.options.cluster);
    }
    return reply;
  }

  /**
   * Asks the nodes until one answers; `read` makes the result of it.
   * @template T
   * @param {Request} request
   * @param {(reply: Reply) => T} read
   * @returns {Promise<T>}
   */
  async call(request, read) {
    const backoff = new Backoff(this, this.options.retries);
    for (;;) {
      const node = this.node;
      try {
        return read(await this.once(node, request));
      } catch (error) {
        if (!mayPass(error)) throw error;
        this.leave(node);
        await backoff.after(error, request.signal);
      }
    }
  }

  /**
   * The same for a write, which happens once however often it is tried.
   * @template T
   * @param {Request} request
   * @param {string | undefined} idempotencyKey
   * @param {(reply: Reply) => T} read
   * @returns {Promise<T>}
   */
  async write(request, idempotencyKey, read) {
    const key = idempotencyKey ?? randomKey();
    /** @type {Record<string, string>} */
    const headers = { ...request.headers, "Idempotency-Key": key };
    if (this.options.cluster !== undefined) headers["ChangeAgent-Cluster"] = this.options.cluster;
    const backoff = new Backoff(this, this.options.retries);
    /** @type {Request} */
    const keyed = { ...request, headers };
    for (;;) {
      const node = this.node;
      try {
        return read(await this.once(node, keyed));
      } catch (error) {
        if (!(error instanceof ChangeAgentError)) throw error;
        keyed.inDoubt ||= !(error instanceof ApiError) || [500, 502, 504].includes(error.status);
        error.outcomeUnknown = keyed.inDoubt === true;
        error.idempotencyKey = key;
        if (!mayPass(error)) throw error;
        this.leave(node);
        await backoff.after(error, request.signal);
      }
    }
  }
}

/** Whether asking again may help. @param {unknown} error @returns {error is BrokenAnswer | ApiError} */
export function mayPass(error) {
  return error instanceof BrokenAnswer || (error instanceof ApiError && error.mayPass);
}

/** Throws what an answer says that is no success. @param {Reply} reply */
export function refuse({ status, headers, body }) {
  if (status >= 200 && status < 300) return;
  if (status < 200 || status > 599) throw new BrokenAnswer("an answer without a status");
  /** @type {Record<string, unknown>} */
  let problem = { detail: body.slice(0, 200) };
  if (headers.get("content-type")?.includes("json")) {
    try {
      const found = JSON.parse(body);
      if (isObject(found)) problem = found;
    } catch {
      // What it says is its detail.
    }
  }
  const after = headers.get("retry-after") ?? "";
  const Refusal = problem.code === "other-history" ? Reset : ApiError;
  throw new Refusal(status, problem, /^\d{1,9}$/.test(after) ? Number(after) * 1000 : undefined);
}

/**
 * The history that an answer is of, which must be the one that is wanted.
 * @param {Headers} headers
 * @param {string | undefined} wanted
 */
export function checkCluster(headers, wanted) {
  const found = headers.get("changeagent-cluster") ?? "";
  // A browser takes a head that was cut for a whole one.
  if (!UUID.test(found)) throw new BrokenAnswer("the answer is not of a ChangeAgent node: it names no history");
  if (wanted !== undefined && found !== wanted) throw otherHistory(wanted, found);
  return found;
}

/** A number of a JSON answer. @param {Reply} reply @param {string} name */
export function numberOf(reply, name) {
  const value = parse(reply.body)[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new BrokenAnswer(`an answer has no ${name}`);
  }
  return value;
}

/** @param {string} node */
function checkNode(node) {
  const url = new URL(node);
  if (!/^https?:$/.test(url.protocol) || url.search || url.hash || url.username) {
    throw new RangeError(`not of the form http://HOST:PORT: ${JSON.stringify(node)}`);
  }
  return url.href.replace(/\/+$/, "");
}

/** 128 random bits; a page that was not loaded by https has no `randomUUID`. */
function randomKey() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, at) => (bytes[at] = Math.random() * 256));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
