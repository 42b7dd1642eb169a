/**
 * Undoes the escapes of JSON strings in a text that comes in pieces: what a client will read in it once
 * it has parsed it. All else is left as it is, and so are escapes that are none.
 *
 * E1. Pieces make the same text however it is cut, within an escape too.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-7
 */
export class JsonEscapes {
  /** An escape that is not complete, or the first half of a pair. */
  #held = "";

  /** The last piece ended within a character. */
  get isMid(): boolean {
    return this.#held !== "";
  }

  push(piece: string): string {
    const text = this.#held + piece;
    this.#held = "";
    if (!text.includes("\\")) return text;
    const cut = heldFrom(text);
    this.#held = text.slice(cut);
    return text.slice(0, cut).replace(ESCAPE, undone);
  }
}

/** The same of a text that is whole. */
export function withoutEscapes(text: string): string {
  return text.includes("\\") ? text.replace(ESCAPE, undone) : text;
}

/** A backslash and what belongs to it; the first alternative keeps `\\u0041` from being read as two. */
const ESCAPE = /\\(?:["\\/bfnrt]|u([0-9A-Fa-f]{4}))/g;

const SHORT: Readonly<Record<string, string>> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

function undone(written: string, unit: string | undefined): string {
  if (unit !== undefined) return String.fromCharCode(Number.parseInt(unit, 16));
  const named = written[1] as string;
  return SHORT[named] ?? named;
}

/** Where an escape begins that the text does not complete, or one half of a pair without the other. */
function heldFrom(text: string): number {
  const open = OPEN_END.exec(text);
  return open === null ? text.length : open.index + (open[1] as string).length;
}

/**
 * An even number of backslashes first, for those are complete. Then: a backslash alone or with part of its
 * four digits; or the first half of a pair, with as much of the second as there is.
 */
const OPEN_END =
  /((?<!\\)(?:\\\\)*)(?:\\(?:u[0-9A-Fa-f]{0,3})?|\\u[Dd][89ABab][0-9A-Fa-f]{2}(?:\\(?:u[0-9A-Fa-f]{0,3})?)?)$/;
