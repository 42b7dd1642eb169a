/**
 * The headers of a client that go to a provider, and as much of them as says something to it.
 *
 * No rule looks into a header, so none is passed on whose value could be anything: it comes from a vocabulary
 * that is closed, or it is left out. Providers then do as they do for whoever does not say.
 *
 * @param allowed Lower case, all of them in the vocabulary.
 */
export function passedHeaders(
  rawHeaders: readonly string[],
  allowed: readonly string[],
): readonly string[] {
  const headers: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!allowed.includes(name)) continue;
    const value = (rawHeaders[i + 1] as string).trim();
    if (VALUES.get(name)?.test(value)) headers.push(name, value);
  }
  return headers;
}

/** What clients of these APIs say that they can read, with a weight or without. */
const MEDIA_RANGE =
  "(?:application/json|text/event-stream|text/plain|application/\\*|text/\\*|\\*/\\*)";
const WEIGHT = "(?:[ \\t]*;[ \\t]*q=(?:0(?:\\.[0-9]{0,3})?|1(?:\\.0{0,3})?))?";
const ACCEPTED = `${MEDIA_RANGE}${WEIGHT}`;

const DATE = /^20[0-9]{2}-[01][0-9]-[0-3][0-9]$/;

const VALUES: ReadonlyMap<string, RegExp> = new Map([
  ["accept", new RegExp(`^${ACCEPTED}(?:[ \\t]*,[ \\t]*${ACCEPTED}){0,7}$`, "i")],
  // Both APIs name their versions by dates.
  ["anthropic-version", DATE],
  ["mcp-protocol-version", DATE],
  // Of a session's handshake all three were judged before.
  ["sec-websocket-version", /^13$/],
  ["sec-websocket-key", /^[A-Za-z0-9+/]{22}==$/],
  ["sec-websocket-protocol", /^realtime$/],
]);
