import { wordsOf } from "./http1/header-lines.ts";

/** Headers that are of one connection, and none of the message. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"],
  ...["te", "trailer", "proxy-authorization", "proxy-authenticate", "proxy-authentication-info"],
]);

/** Headers of this kind are said by the node alone. */
const OURS = "x-altrace-";

/** What this proxy calls itself to those behind it. */
const VIA = ["via", "1.1 altrace"] as const;

/**
 * The headers of a message that a proxy passes on: without those of its connection, those that it
 * names to be so and those that are ours to say, and with our name added.
 *
 * @param leftOut Further headers that are not passed on, lower case.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
 */
export function passedOn(
  rawHeaders: readonly string[],
  leftOut: ReadonlySet<string>,
): readonly string[] {
  const ofConnection = namedByConnection(rawHeaders);
  const passed: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (HOP_BY_HOP.has(name) || leftOut.has(name) || ofConnection.has(name)) continue;
    if (name.startsWith(OURS)) continue;
    passed.push(name, rawHeaders[i + 1] as string);
  }
  return [...passed, ...VIA];
}

function namedByConnection(rawHeaders: readonly string[]): ReadonlySet<string> {
  const named = new Set<string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() !== "connection") continue;
    for (const word of wordsOf(rawHeaders[i + 1] as string)) named.add(word);
  }
  return named;
}
