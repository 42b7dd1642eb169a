import { isNamed } from "../head-rules.ts";
import { wordsOf } from "./header-lines.ts";

/** What a request's head asks of its connection. */
export type ConnectionWords = {
  /** It is the last one. */
  readonly closes: boolean;
  /** Its body comes once it is asked for. */
  readonly expectsContinue: boolean;
  /** It is to be a WebSocket from then on. */
  readonly asksForSession: boolean;
};

/**
 * Reads what a head says of its connection. An expectation that is not known may be ignored: RFC 9110, section 10.1.1.
 *
 * @param rawHeaders Flat name, value, ...
 */
export function connectionWords(method: string, rawHeaders: readonly string[]): ConnectionWords {
  let closes = false;
  let upgrades = false;
  let expectsContinue = false;
  let protocol: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    // The length of a name decides cheaply that it is none of these.
    if (name.length === 10 && isNamed(name, "connection")) {
      const value = rawHeaders[i + 1] as string;
      const words = value === "keep-alive" ? KEEPS : wordsOf(value);
      closes ||= words.includes("close");
      upgrades ||= words.includes("upgrade");
    } else if (name.length === 6 && isNamed(name, "expect")) {
      expectsContinue ||= (rawHeaders[i + 1] as string).toLowerCase() === "100-continue";
    } else if (name.length === 7 && isNamed(name, "upgrade")) {
      // Of two of them neither is the one that is meant.
      protocol = protocol === undefined ? (rawHeaders[i + 1] as string).toLowerCase() : "";
    }
  }
  const asksForSession = method === "GET" && upgrades && protocol === "websocket";
  return { closes, expectsContinue, asksForSession };
}

/** As nearly all clients say it. */
const KEEPS: readonly string[] = ["keep-alive"];
