import type { PatternError, PatternErrorCode } from "./pattern-tree.ts";

/** How a parser gives up. Never leaves `parsePattern`, which returns what it carries. */
export class PatternRefused extends Error {
  readonly refusal: PatternError;

  constructor(refusal: PatternError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** A place in a pattern's source, moving forward by whole code points. */
export class PatternCursor {
  readonly #source: string;
  position = 0;

  constructor(source: string) {
    this.#source = source;
  }

  atEnd(): boolean {
    return this.position >= this.#source.length;
  }

  /** The next character, or the empty string at the end. */
  peek(): string {
    const codePoint = this.#source.codePointAt(this.position);
    return codePoint === undefined ? "" : String.fromCodePoint(codePoint);
  }

  startsWith(text: string): boolean {
    return this.#source.startsWith(text, this.position);
  }

  /** The next `length` UTF-16 units, fewer at the end. */
  ahead(length: number): string {
    return this.#source.slice(this.position, this.position + length);
  }

  /** Steps over `text` if it is next. */
  take(text: string): boolean {
    if (!this.startsWith(text)) return false;
    this.position += text.length;
    return true;
  }

  /** Steps over what a sticky expression finds here. */
  takeMatch(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.position;
    const match = expression.exec(this.#source);
    if (match === null) return undefined;
    this.position += match[0].length;
    return match;
  }

  /** Steps over one character and gives its code point. */
  next(): number {
    const codePoint = this.#source.codePointAt(this.position);
    if (codePoint === undefined) {
      return this.refuse("malformed_pattern", "the pattern ends too early");
    }
    if (codePoint >= 0xd800 && codePoint <= 0xdfff) {
      return this.refuse("lone_surrogate", "a lone surrogate has no UTF-8 encoding");
    }
    this.position += codePoint > 0xffff ? 2 : 1;
    return codePoint;
  }

  refuse(code: PatternErrorCode, message: string, position = this.position): never {
    throw new PatternRefused({ code, position, message });
  }
}
