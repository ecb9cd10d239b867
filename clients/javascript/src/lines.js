/** An answer line by line, as its lines come. */

import { BrokenAnswer, ChangeAgentError } from "./errors.js";
import { checkCluster, refuse } from "./core.js";

export const NDJSON = "application/x-ndjson";

/**
 * Gives the complete lines that came together, without empty ones, and perhaps
 * none of them; `enter` is called with the headers before.
 * @param {import("./core.js").Core} core
 * @param {string} node
 * @param {import("./core.js").Request} request
 * @param {string | undefined} cluster the history that it must be of, if it is known
 * @returns {AsyncGenerator<{lines: string[], cluster: string}, void, void>}
 */
export async function* readLines(core, node, request, cluster) {
  const answer = await core.exchange(node, { ...request, accept: NDJSON });
  if (answer.status !== 200) {
    const { status, headers } = answer;
    refuse({ status, headers, body: await core.body(answer, 0) });
    throw new BrokenAnswer(`an answer to a read has the status ${status}`);
  }
  try {
    const found = checkCluster(answer.headers, cluster);
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let rest = "";
    for (;;) {
      const part = await answer.read(core.options.silenceMs);
      if (part === undefined) break;
      const lines = (rest + decode(decoder, part)).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > core.options.answerBytesMax) {
        throw new ChangeAgentError("a line is longer than answerBytesMax");
      }
      yield { lines: lines.filter((line) => line.trim() !== ""), cluster: found };
    }
    if (rest !== "") throw new BrokenAnswer("a stream ended in the middle of a line");
  } finally {
    answer.close();
  }
}

/** @param {TextDecoder} decoder @param {Uint8Array} part */
function decode(decoder, part) {
  try {
    return decoder.decode(part, { stream: true });
  } catch (cause) {
    throw new BrokenAnswer("a stream is not UTF-8", { cause });
  }
}
