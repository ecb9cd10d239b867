/** Client of ChangeAgent: append changes, follow lists. A local copy in SQLite is in `changeagent-client/mirror`. */

export { Client } from "./client.js";
export { ApiError, BrokenAnswer, ChangeAgentError, Closed, Conflict, Reset } from "./errors.js";
export { Change, Page, Position } from "./model.js";
/** @typedef {import("./core.js").Options} Options */
/** @typedef {import("./follow.js").FollowOptions} FollowOptions */
