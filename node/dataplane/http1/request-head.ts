import { http } from "../../../ports/http-module.ts";

/** A request's head as it was received, of good form and not yet judged. */
export type ReceivedHead = {
  readonly method: string;
  readonly target: string;
  /** As in `1.1`. */
  readonly httpVersion: string;
  /** Flat name, value, ... */
  readonly rawHeaders: readonly string[];
};

/**
 * Reads the head of a request, without the empty line at its end. Undefined: it is none.
 *
 * Strict where two readers could differ: one space stands between the three words of the first line, lines end with
 * CRLF and never go on in the next, no space stands before a colon, and no control character but a tab in a value.
 * What its headers say is for `head-rules.ts` to judge.
 *
 * @param text A character a byte.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-2.2
 */
export function readRequestHead(text: string): ReceivedHead | undefined {
  if (!HEAD_FORM.test(text)) return undefined;
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  const method = text.slice(0, methodEnd);
  if (!METHODS.has(method)) return undefined;
  const version = targetEnd + " HTTP/".length;
  const rawHeaders: string[] = [];
  for (let at = version + "1.1\r\n".length; at < text.length; ) {
    const colon = text.indexOf(":", at);
    const stop = text.indexOf("\r\n", colon);
    rawHeaders.push(text.slice(at, colon), withoutSpace(text, colon + 1, stop));
    at = stop + 2;
  }
  return {
    method,
    target: text.slice(methodEnd + 1, targetEnd),
    httpVersion: text.slice(version, version + "1.1".length),
    rawHeaders,
  };
}

/** Each word of it has one reading, so this takes a step a character. */
const HEAD_FORM =
  /^[A-Z-]+ [\x21-\x7e]+ HTTP\/[0-9]\.[0-9]\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** A word that is none of these is a mistake, or another protocol. */
const METHODS: ReadonlySet<string> = new Set(http.METHODS);

const SPACE = 0x20;
const TAB = 0x09;

function withoutSpace(text: string, from: number, to: number): string {
  let [start, stop] = [from, to];
  while (start < stop && isSpace(text.charCodeAt(start))) start += 1;
  while (stop > start && isSpace(text.charCodeAt(stop - 1))) stop -= 1;
  return text.slice(start, stop);
}

function isSpace(code: number): boolean {
  return code === SPACE || code === TAB;
}
