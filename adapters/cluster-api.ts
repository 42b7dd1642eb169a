import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Agent, type Dispatcher, request } from "undici";
import { errorMessage } from "../ports/error-message.ts";

/** An answer that is none: what came, and HTTP's status where there was one. */
export type ClusterRefusal = (message: string, status?: number) => Error;

/** Told once when the watch has been taken up, then of each of its lines. */
type WatchHandlers = { readonly begun: () => void; readonly event: (event: object) => void };

const LINE_BYTES_MAX = 4 * 1024 * 1024;
const LIST_BYTES_MAX = 64 * 1024 * 1024;
/** Longer than the API's own bookmarks are apart, which come about every minute. */
const SILENCE_MAX_MS = 120_000;
const LIST_TIMEOUT_MS = 10_000;

/**
 * Reads a cluster's API as the service account whose files lie in `accountDir`.
 *
 * The token is read anew for each request: the cluster replaces it about once an hour.
 */
export function clusterApi(
  origin: string,
  accountDir: string,
  refusal: ClusterRefusal,
): {
  list(path: string): Promise<object>;
  watch(path: string, on: WatchHandlers, signal: AbortSignal): Promise<void>;
} {
  const secure = origin.startsWith("https:");
  const ca = secure ? readFileSync(join(accountDir, "ca.crt"), "utf8") : undefined;
  const dispatcher = new Agent({ connect: ca === undefined ? {} : { ca } });
  const ask = async (path: string, bodyTimeout: number, signal?: AbortSignal) => {
    const token = readFileSync(join(accountDir, "token"), "utf8").trim();
    const options = {
      dispatcher,
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      headersTimeout: LIST_TIMEOUT_MS,
      bodyTimeout,
      ...(signal && { signal }),
    };
    const answer = await request(`${origin}${path}`, options).catch((error: unknown) => {
      throw refusal(`${origin}: ${errorMessage(error)}`);
    });
    if (answer.statusCode === 200) return answer;
    const text = (await answer.body.text()).slice(0, 500);
    throw refusal(`${origin}: ${answer.statusCode} ${text}`, answer.statusCode);
  };
  return {
    list: async (path) => {
      const { body } = await ask(path, LIST_TIMEOUT_MS);
      return parsed(await bounded(body, LIST_BYTES_MAX, refusal), refusal);
    },
    watch: async (path, { begun, event }, signal) => {
      const { body } = await ask(path, SILENCE_MAX_MS, signal);
      begun();
      await eachLine(body, (line) => event(parsed(line, refusal)), refusal);
    },
  };
}

type Body = Dispatcher.ResponseData["body"];

async function bounded(body: Body, bytesMax: number, refusal: ClusterRefusal): Promise<string> {
  let text = "";
  body.setEncoding("utf8");
  for await (const chunk of body) {
    text += chunk as string;
    if (text.length > bytesMax) throw refusal("the list is longer than any that is read");
  }
  return text;
}

async function eachLine(
  body: Body,
  onLine: (line: string) => void,
  refusal: ClusterRefusal,
): Promise<void> {
  let rest = "";
  body.setEncoding("utf8");
  try {
    for await (const chunk of body) {
      const lines = (rest + (chunk as string)).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > LINE_BYTES_MAX) throw refusal("a line of the watch has no end");
      for (const line of lines) if (line !== "") onLine(line);
    }
  } finally {
    body.destroy();
  }
}

function parsed(text: string, refusal: ClusterRefusal): object {
  try {
    return JSON.parse(text) as object;
  } catch {
    throw refusal(`no JSON: ${text.slice(0, 200)}`);
  }
}
