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
  const rows = Object.entries<Mandatory | Optional>(table)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { write, mandatory }]) => ({
      name,
      write,
      mandatory,
      first: `${canonicalString(name)}:`,
      next: `,${canonicalString(name)}:`,
      mark: marks[name],
      // Most are what they were in the record before: what fitted then fits now.
      last: undefined as unknown,
      lastText: "",
    }));
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new MemberError("", "is not an object");
    }
    const members = value as Readonly<Record<string, unknown>>;
    let text = "{";
    let seen = 0;
    for (const row of rows) {
      const member = members[row.name];
      if (row.mark !== undefined) {
        row.mark.at = text.length + (seen > 0 ? 1 : 0);
        row.mark.isThere = member !== undefined;
      }
      if (member === undefined) {
        if (row.mandatory) throw new MemberError(row.name, "is missing");
        continue;
      }
      text += seen > 0 ? row.next : row.first;
      seen++;
      if (member === row.last) {
        text += row.lastText;
        continue;
      }
      const memberText = writeMember(row.name, row.write, member);
      // What an object says may be another thing by then.
      if (typeof member !== "object") {
        row.last = member;
        row.lastText = memberText;
      }
      text += memberText;
    }
    // A count is enough: every member seen is in the table, so one more is one that is not.
    if (countOf(members) !== seen) throw unknownMember(members, table);
    const wrong = check?.(value as T);
    if (wrong !== undefined) throw new MemberError("", wrong);
    return `${text}}`;
  };
}

/** As many as `Object.keys` would list, without the list. */
function countOf(members: object): number {
  let count = 0;
  for (const _ in members) count++;
  return count;
}

function writeMember(name: string, write: Writer, value: unknown): string {
  try {
    return write(value);
  } catch (error) {
    if (!(error instanceof MemberError)) throw error;
    throw new MemberError(error.path === "" ? name : `${name}.${error.path}`, error.why);
  }
}

function unknownMember(members: object, table: object): MemberError {
  const stranger = Object.keys(members).find(
    (key) => !Object.hasOwn(table, key) || (members as Record<string, unknown>)[key] === undefined,
  );
  return new MemberError(stranger ?? "", "is not a member of this kind of record");
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
