// Writers for closed JSON objects: one table checks a value and gives its canonical text at once.
//
// Reading uses the same writers: text is canonical iff writing its parsed value gives it back. So
// there is one statement of the schema, and no second opinion of it.

import { canonicalString } from "../proto/jcs.ts";

/** Checks a value and writes it as canonical JSON; throws `MemberError` when it does not fit. */
export type Writer = (value: unknown) => string;

/** A value that its schema does not allow. `path` names the member, outermost first. */
export class MemberError extends Error {
  override readonly name = "MemberError";
  readonly path: string;
  readonly why: string;

  constructor(path: string, why: string) {
    super(path === "" ? why : `${path}: ${why}`);
    this.path = path;
    this.why = why;
  }
}

type Mandatory = { readonly write: Writer; readonly mandatory: true };
type Optional = { readonly write: Writer; readonly mandatory: false };

/** The members of `T`: the compiler wants one row each, optional exactly where `T` says so. */
export type Members<T> = {
  // biome-ignore lint/complexity/noBannedTypes: `{}` is how TypeScript asks "is K optional in T?".
  readonly [K in keyof T]-?: {} extends Pick<T, K> ? Optional : Mandatory;
};

export function must(write: Writer): Mandatory {
  return { write, mandatory: true };
}

export function may(write: Writer): Optional {
  return { write, mandatory: false };
}

/** Where a member stood in the text of an object that was written last, or would have stood. */
export type Mark = { at: number; isThere: boolean };

/**
 * An object with exactly these members. `check` looks at what no member shows alone; it returns
 * what
 * is wrong in one sentence. `marks` are told where the members of these names stand.
 */
export function object<T>(
  table: Members<T>,
  check?: (value: T) => string | undefined,
  marks: Readonly<Record<string, Mark>> = {},
): Writer {
  const rows = new Rows(table, marks);
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new MemberError("", "is not an object");
    }
    const text = rows.textOf(value as Readonly<Record<string, unknown>>);
    const wrong = check?.(value as T);
    if (wrong !== undefined) throw new MemberError("", wrong);
    return text;
  };
}

/** The rows of one table, in the order in which they are written. */
class Rows {
  readonly #rows: readonly Row[];
  readonly #byName: ReadonlyMap<string, Row>;
  /** Whose members stood where in the object before, which nearly always is where they stand in the next one. */
  readonly #order: Row[] = [];

  constructor(table: object, marks: Readonly<Record<string, Mark>>) {
    this.#rows = Object.entries<Mandatory | Optional>(table as Record<string, Mandatory>)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([name, { write, mandatory }]) => new Row({ name, write, mandatory, mark: marks[name] }),
      );
    this.#byName = new Map(this.#rows.map((row) => [row.name, row]));
  }

  textOf(members: Readonly<Record<string, unknown>>): string {
    this.#take(members);
    let text = "{";
    for (const row of this.#rows) text = row.behind(text);
    return `${text}}`;
  }

  /** Going through the members once costs a third of looking each of them up by its name. */
  #take(members: Readonly<Record<string, unknown>>): void {
    for (const row of this.#rows) row.given = undefined;
    let no = 0;
    for (const name in members) {
      const member = members[name];
      const row = this.#order[no]?.name === name ? this.#order[no] : this.#byName.get(name);
      if (row === undefined || member === undefined) {
        throw new MemberError(name, "is not a member of this kind of record");
      }
      this.#order[no] = row;
      row.given = member;
      no += 1;
    }
  }
}

/** One member of a table. */
class Row {
  readonly name: string;
  /** What the object that is written now has of it. */
  given: unknown;
  readonly #mandatory: boolean;
  readonly #write: Writer;
  readonly #name: string;
  readonly #mark: Mark | undefined;
  // Most are what they were in the record before: what fitted then fits now.
  #last: unknown;
  #lastFirst = "";
  #lastNext = "";

  constructor(of: {
    readonly name: string;
    readonly write: Writer;
    readonly mandatory: boolean;
    readonly mark: Mark | undefined;
  }) {
    this.name = of.name;
    this.#mandatory = of.mandatory;
    this.#write = of.write;
    this.#name = `${canonicalString(of.name)}:`;
    this.#mark = of.mark;
  }

  /** The text so far, and the member behind it, if there is one. */
  behind(text: string): string {
    const member = this.given;
    if (this.#mark !== undefined) this.#stands(this.#mark, text, member !== undefined);
    if (member === undefined) {
      if (this.#mandatory) throw new MemberError(this.name, "is missing");
      return text;
    }
    const isFirst = text.length === 1;
    if (member === this.#last) return text + (isFirst ? this.#lastFirst : this.#lastNext);
    const first = this.#name + this.#textOf(member);
    const next = `,${first}`;
    // What an object says may be another thing by then.
    if (typeof member !== "object") {
      this.#last = member;
      this.#lastFirst = first;
      this.#lastNext = next;
    }
    return text + (isFirst ? first : next);
  }

  #stands(mark: Mark, text: string, isThere: boolean): void {
    mark.at = text.length + (text.length > 1 ? 1 : 0);
    mark.isThere = isThere;
  }

  #textOf(member: unknown): string {
    try {
      return this.#write(member);
    } catch (error) {
      if (!(error instanceof MemberError)) throw error;
      const path = error.path === "" ? this.name : `${this.name}.${error.path}`;
      throw new MemberError(path, error.why);
    }
  }
}

/**
 * Text of 1 to `charsMax` characters that matches `pattern`, which must admit neither `"`, `\` nor
 * controls: such text is its own JSON spelling, and writing it costs no escaping. The length is not
 * left to the pattern, because a bounded repetition makes matching several times slower.
 */
export function plainText(pattern: RegExp, charsMax: number): Writer {
  return (value) => {
    if (typeof value !== "string") throw new MemberError("", "is not a string");
    if (value.length > charsMax || !pattern.test(value)) throw new MemberError("", "is malformed");
    return `"${value}"`;
  };
}

/**
 * Any well-formed text up to `charsMax` UTF-16 units, escaped. For text that we wrote ourselves.
 */
export function longText(charsMax: number): Writer {
  return (value) => {
    if (typeof value !== "string") throw new MemberError("", "is not a string");
    if (value.length === 0 || value.length > charsMax || !value.isWellFormed()) {
      throw new MemberError("", `is not well-formed text of 1..${charsMax} characters`);
    }
    return canonicalString(value);
  };
}

/** An integer in `min..max`, both included. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Writer {
  return (value) => {
    if (!Number.isSafeInteger(value)) throw new MemberError("", "is not a safe integer");
    const number = value as number;
    if (number < min || number > max) throw new MemberError("", `is not in ${min}..${max}`);
    return String(number);
  };
}

/** One of a closed list of plain words. */
export function oneOf(words: readonly string[]): Writer {
  const texts = new Map(words.map((word) => [word, canonicalString(word)]));
  return (value) => {
    const text = texts.get(value as string);
    if (text === undefined) throw new MemberError("", `is not one of ${words.join(", ")}`);
    return text;
  };
}

export const boolean: Writer = (value) => {
  if (value === true) return "true";
  if (value === false) return "false";
  throw new MemberError("", "is not a boolean");
};

/** An array of at most `countMax` items. */
export function list(item: Writer, countMax: number): Writer {
  return (value) => {
    if (!Array.isArray(value)) throw new MemberError("", "is not an array");
    if (value.length > countMax) throw new MemberError("", `has more than ${countMax} items`);
    let text = "[";
    for (let i = 0; i < value.length; i++) text += (i === 0 ? "" : ",") + item(value[i]);
    return `${text}]`;
  };
}
