const NAME = String.raw`[!#$%&'*+\-.^_\x60|~0-9A-Za-z]+`;
/** No control character but a tab. */
const VALUE = String.raw`[\t\x20-\x7e\x80-\xff]*`;

/** The name of a header, or a method: a token. */
export const TOKEN_FORM = new RegExp(`^${NAME}$`);
export const HEADER_VALUE_FORM = new RegExp(`^${VALUE}$`);

/**
 * The form of a head's header lines, each whole: source of a regular expression.
 *
 * Lines end with CRLF and never go on in the next, and no space stands before a colon. A word of it has one reading,
 * so matching takes a step a character.
 */
export const HEADER_LINES = String.raw`(?:${NAME}:${VALUE}\r\n)*`;

const TABBED_FRAMING = /\r\n(?:transfer-encoding|content-length):[^\r]*\t/i;

/**
 * Whether a head says where its body ends beside a tab, which is space to some readers and a part of the value to others.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-5.6.3
 */
export function hasTabbedFraming(head: string): boolean {
  return head.includes("\t") && TABBED_FRAMING.test(head);
}

/** What lines of that form say, from a place on: flat name, value, ... without the space around values. */
export function readHeaderLines(text: string, from: number): string[] {
  const rawHeaders: string[] = [];
  for (let at = from; at < text.length; ) {
    const colon = text.indexOf(":", at);
    const stop = text.indexOf("\r\n", colon);
    rawHeaders.push(text.slice(at, colon), withoutSpace(text, colon + 1, stop));
    at = stop + 2;
  }
  return rawHeaders;
}

/** The words of a value that is a list of them, as `connection` is, in lower case. */
export function wordsOf(value: string): string[] {
  return value.split(",").map((word) => word.trim().toLowerCase());
}

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
