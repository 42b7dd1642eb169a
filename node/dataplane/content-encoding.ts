import type { Missing } from "../decision/facts.ts";

/** How a body may be compressed. @see https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 */
export const ENCODINGS = ["gzip", "br", "zstd"] as const;
export type Encoding = (typeof ENCODINGS)[number];

/**
 * How a head says that its body is compressed; undefined where it is not.
 *
 * One coding, named once: of several in a row, and of a header that comes twice, two readers could undo
 * another part.
 */
export function encodingOf(rawHeaders: readonly string[]): Encoding | Missing | undefined {
  let named: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() !== "content-encoding") continue;
    if (named !== undefined) return { missing: "malformed_http", detail: "content-encoding twice" };
    named = (rawHeaders[i + 1] as string).trim().toLowerCase();
  }
  if (named === undefined || named === "identity") return undefined;
  const known = ENCODINGS.find((one) => one === named);
  return known ?? { missing: "content_encoding_unsupported", detail: "gzip, br or zstd, or none" };
}
