import { withoutEscapes } from "../json-escapes.ts";
import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import { textSeams } from "./text-seams.ts";

/** What has been found while the members of a request are read. */
export class RequestReading {
  readonly texts: string[] = [];
  readonly tools: { readonly name: string | undefined }[] = [];
  /** First member whose price or effect is not known here. */
  unpriced: string | undefined = undefined;
  /** First member that has not the shape it must have. */
  malformed: string | undefined = undefined;
}

/** Reads one member that is present and not null. `at` names it in messages. */
export type MemberReader = (value: JsonValue, at: string, reading: RequestReading) => void;

/** The members of one kind of object. One that is not in here is not priced. */
export type MemberTable = ReadonlyMap<string, MemberReader>;

const NAME_CHARS_MAX = 64;

/**
 * Reads the members of an object by their table. Null is what an SDK writes for absent: it is let
 * pass for every member that is known.
 */
export function readMembers(
  object: JsonObject,
  table: MemberTable,
  at: string,
  reading: RequestReading,
): void {
  for (const name of Object.keys(object)) {
    const read = table.get(name);
    const value = object[name] as JsonValue;
    if (read === undefined) unpriced(null, pathOf(at, printable(name)), reading);
    else if (value !== null) read(value, pathOf(at, name), reading);
  }
}

function pathOf(at: string, name: string): string {
  return at === "" ? name : `${at}.${name}`;
}

/** An object with the members of a table. */
export function object(table: MemberTable): MemberReader {
  return (value, at, reading) => {
    const members = asObject(value);
    if (members === undefined) malformed(value, at, reading);
    else readMembers(members, table, at, reading);
  };
}

/** A list, each item read alike. */
export function listOf(read: MemberReader): MemberReader {
  return (value, at, reading) => {
    if (!Array.isArray(value)) malformed(value, at, reading);
    else for (const item of value) read(item, `${at}[]`, reading);
  };
}

/** The parts of one message, each read alike; where texts among them meet they are scanned as one. */
export function partsOf(read: MemberReader): MemberReader {
  const parts = listOf(read);
  return (value, at, reading) => {
    parts(value, at, reading);
    if (!Array.isArray(value) || value.length < 2) return;
    for (const seam of textSeams(value)) reading.texts.push(seam);
  };
}

/** A text that somebody wrote: scanned. */
export const text: MemberReader = (value, at, reading) => {
  if (typeof value !== "string") malformed(value, at, reading);
  else if (value !== "") reading.texts.push(value);
};

/** JSON text: it is scanned as it is written, and as whoever parses it will read it. */
export const jsonText: MemberReader = (value, at, reading) => {
  text(value, at, reading);
  if (typeof value === "string" && value.includes("\\")) reading.texts.push(withoutEscapes(value));
};

/** Free-form data: all its texts are scanned. */
export const freeForm: MemberReader = (value, _at, reading) => collectTexts(value, reading.texts);

export const anyNumber: MemberReader = (value, at, reading) => {
  if (typeof value !== "number") malformed(value, at, reading);
  else scanNumber(value, reading);
};

/** A whole number of at least `least`. */
export function count(least: number): MemberReader {
  return (value, at, reading) => {
    if (!Number.isSafeInteger(value) || (value as number) < least) malformed(value, at, reading);
    else scanNumber(value as number, reading);
  };
}

/** A seed may be a card's number. What is shorter than this is nobody's, and nearly all are. */
const NUMBER_CHARS_MIN = 6;

/** Without its fraction: a weight such as 0.5500000000000004 has the digits of a card, and is none. */
function scanNumber(value: number, reading: RequestReading): void {
  const digits = String(Math.trunc(value));
  if (digits.length >= NUMBER_CHARS_MIN) reading.texts.push(digits);
}

export const flag: MemberReader = (value, at, reading) => {
  if (typeof value !== "boolean") malformed(value, at, reading);
};

/** Only these values are priced. */
export function only(...values: readonly (string | boolean)[]): MemberReader {
  return (value, at, reading) => {
    if (!values.some((one) => one === value)) unpriced(value, at, reading);
  };
}

/** A string or a list of them, scanned. */
export const textOrTexts: MemberReader = (value, at, reading) => {
  if (Array.isArray(value)) listOf(text)(value, at, reading);
  else text(value, at, reading);
};

export const unpriced: MemberReader = (_value, at, reading) => {
  reading.unpriced ??= at;
};

export const malformed: MemberReader = (_value, at, reading) => {
  reading.malformed ??= at;
};

/** A name out of a request, fit for a message: bounded, and nothing but printable ASCII. */
export function printable(name: string): string {
  return name.slice(0, NAME_CHARS_MAX).replaceAll(/[^\x21-\x7e]/g, "?");
}
