import { http } from "../../../ports/http-module.ts";
import type { ParsedHead } from "../head-rules.ts";
import { HEADER_LINES, hasTabbedFraming, readHeaderLines } from "./header-lines.ts";

/** A request's head as it was received, of good form and not yet judged. */
export type ReceivedHead = ParsedHead & { readonly method: string };

/**
 * Reads the head of a request, without the empty line at its end. Undefined: it is none.
 *
 * Strict where two readers could differ: one space stands between the three words of the first line, and header lines
 * are of one form. What they say is for `head-rules.ts` to judge.
 *
 * @param text A character a byte.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-2.2
 */
export function readRequestHead(text: string): ReceivedHead | undefined {
  if (!HEAD_FORM.test(text) || hasTabbedFraming(text)) return undefined;
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  const method = text.slice(0, methodEnd);
  if (!METHODS.has(method)) return undefined;
  const version = targetEnd + " HTTP/".length;
  return {
    method,
    target: text.slice(methodEnd + 1, targetEnd),
    httpVersion: text.slice(version, version + "1.1".length),
    rawHeaders: readHeaderLines(text, version + "1.1\r\n".length),
  };
}

const HEAD_FORM = new RegExp(
  String.raw`^[A-Z-]+ [\x21-\x7e]+ HTTP\/[0-9]\.[0-9]\r\n${HEADER_LINES}$`,
);

/** A word that is none of these is a mistake, or another protocol. */
const METHODS: ReadonlySet<string> = new Set(http.METHODS);
