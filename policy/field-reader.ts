import type { DocumentEntry, DocumentNode, Place } from "./document-node.ts";
import type { Findings } from "./findings.ts";
import { didYouMean } from "./suggestion.ts";

/** One value of the document, where it is, and where to tell what is wrong with it. */
export type Field = {
  readonly node: DocumentNode;
  readonly place: Place;
  readonly path: string;
  readonly findings: Findings;
};

/** The fields of one map. Unknown ones were reported when it was opened. */
export type FieldMap = {
  readonly place: Place;
  readonly path: string;
  readonly findings: Findings;
  readonly get: (name: string) => Field | undefined;
};

/** The field at the top of a document. */
export function rootField(node: DocumentNode, findings: Findings): Field {
  return { node, place: node.place, path: "", findings };
}

/** Opens a map whose field names are fixed. `undefined`: not a map, and reported. */
export function readMap(field: Field, allowed: readonly string[]): FieldMap | undefined {
  if (!isMap(field, "a map of fields")) return undefined;
  const known = new Map<string, Field>();
  for (const [name, value] of entriesOf(field)) {
    if (allowed.includes(name)) {
      known.set(name, value);
    } else {
      const unset = allowed.filter((other) => !known.has(other));
      const message = `there is no field "${name}" here${didYouMean(name, unset)}`;
      field.findings.error(value, "unknown_field", message);
    }
  }
  const { place, path, findings } = field;
  return { place, path, findings, get: (name) => known.get(name) };
}

/** Opens a map whose keys are names of the operator's choice. Each entry's place is its key's. */
export function readEntries(
  field: Field,
): Iterable<readonly [name: string, entry: Field]> | undefined {
  return isMap(field, "a map") ? entriesOf(field) : undefined;
}

function isMap(field: Field, expected: string): boolean {
  const { node } = field;
  if (node.kind === "map") return true;
  field.findings.error(field, "wrong_type", `must be ${expected}, not ${kindOf(node)}`);
  return false;
}

/** One entry at a time: a map of thousands of agents is read over many slices. */
function* entriesOf(field: Field): Generator<readonly [string, Field]> {
  const { node } = field;
  if (node.kind !== "map") return;
  for (const entry of node.entries) yield [entry.key, entryField(field, entry)];
}

/** The items of a list. `undefined`: not a list, and reported. */
export function readList(field: Field): readonly Field[] | undefined {
  const { node, path, findings } = field;
  if (node.kind !== "list") {
    findings.error(field, "wrong_type", `must be a list, not ${kindOf(node)}`);
    return undefined;
  }
  return node.items.map((item, i) => ({
    node: item,
    place: item.place,
    path: `${path}[${i}]`,
    findings,
  }));
}

/** A list whose items must differ, each read by `read`; those it refuses are left out. */
export function readListOf<T>(
  field: Field,
  read: (item: Field) => T | undefined,
): readonly T[] | undefined {
  const items = readList(field);
  if (items === undefined) return undefined;
  const values = new Set<T>();
  for (const item of items) {
    const value = read(item);
    if (value === undefined) continue;
    if (values.has(value)) item.findings.error(item, "duplicate", "is in the list twice");
    values.add(value);
  }
  return [...values];
}

/** The field, or `undefined` and a finding when it is absent. */
export function required(map: FieldMap, name: string): Field | undefined {
  const field = map.get(name);
  if (field === undefined) {
    map.findings.error(map, "missing_field", `the field "${name}" is missing`);
  }
  return field;
}

/** The part of `field` that `keys` lead to, as far as they lead: for telling where something is. */
export function descend(field: Field, ...keys: readonly (string | number)[]): Field {
  let found = field;
  for (const key of keys) {
    const { node } = found;
    if (node.kind === "list" && typeof key === "number") {
      found = readList(found)?.[key] ?? found;
    } else if (node.kind === "map") {
      const entry = node.entries.find((one) => one.key === key);
      if (entry !== undefined) found = entryField(found, entry);
    }
  }
  return found;
}

export function readText(field: Field): string | undefined {
  const { node } = field;
  if (node.kind !== "scalar" || typeof node.value !== "string") {
    const quotes = node.kind === "scalar" && node.value !== null ? "; put it in quotes" : "";
    field.findings.error(field, "wrong_type", `must be text, not ${kindOf(node)}${quotes}`);
    return undefined;
  }
  if (!node.value.isWellFormed()) {
    field.findings.error(field, "malformed", "holds half a surrogate pair");
    return undefined;
  }
  return node.value;
}

/** Text that `isValid` takes; `grammar` says what that is. */
export function readMatching(
  field: Field,
  isValid: (text: string) => boolean,
  grammar: string,
): string | undefined {
  const text = readText(field);
  if (text === undefined || isValid(text)) return text;
  field.findings.error(field, "malformed", `"${shorten(text)}" is not ${grammar}`);
  return undefined;
}

/** Text that `parse` makes a value of; `grammar` says what that is. */
export function readParsed<T>(
  field: Field,
  parse: (text: string) => T | undefined,
  grammar: string,
): T | undefined {
  const text = readText(field);
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value === undefined) {
    field.findings.error(field, "malformed", `"${shorten(text)}" is not ${grammar}`);
  }
  return value;
}

/** One of a closed set of words. */
export function readWord<T extends string>(field: Field, words: readonly T[]): T | undefined {
  const text = readText(field);
  if (text === undefined) return undefined;
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) {
    const hint = didYouMean(text, words);
    const message = `"${shorten(text)}" is not one of ${words.join(", ")}${hint}`;
    field.findings.error(field, "unknown_reference", message);
  }
  return word;
}

/** A name that something else in the policy must bear; `what` says what that is. */
export function readReference(
  field: Field,
  names: Iterable<string>,
  what: string,
): string | undefined {
  const text = readText(field);
  if (text === undefined) return undefined;
  const known = [...names];
  if (known.includes(text)) return text;
  const message = `there is no ${what} "${shorten(text)}"${didYouMean(text, known)}`;
  field.findings.error(field, "unknown_reference", message);
  return undefined;
}

export function readInteger(
  field: Field,
  bounds: { readonly min: number; readonly max: number },
): number | undefined {
  const { node } = field;
  if (node.kind !== "scalar" || typeof node.value !== "number" || !Number.isInteger(node.value)) {
    field.findings.error(field, "wrong_type", `must be a whole number, not ${kindOf(node)}`);
    return undefined;
  }
  if (node.value < bounds.min || node.value > bounds.max) {
    const message = `${node.value} is outside ${bounds.min} to ${bounds.max}`;
    field.findings.error(field, "out_of_range", message);
    return undefined;
  }
  return node.value;
}

export function readBoolean(field: Field): boolean | undefined {
  const { node } = field;
  if (node.kind === "scalar" && typeof node.value === "boolean") return node.value;
  field.findings.error(field, "wrong_type", `must be true or false, not ${kindOf(node)}`);
  return undefined;
}

/** Long or hostile text, so that it can stand in a message. */
export function shorten(text: string): string {
  const plain = JSON.stringify(text).slice(1, -1);
  return plain.length <= 64 ? plain : `${plain.slice(0, 64)}...`;
}

function entryField(parent: Field, entry: DocumentEntry): Field {
  const path = parent.path === "" ? entry.key : `${parent.path}.${entry.key}`;
  let node: DocumentNode | undefined;
  return {
    // Made when it is first read, as the entries are.
    get node() {
      node ??= entry.value();
      return node;
    },
    place: entry.keyPlace,
    path,
    findings: parent.findings,
  };
}

function kindOf(node: DocumentNode): string {
  if (node.kind === "map" || node.kind === "list") return `a ${node.kind}`;
  if (node.value === null) return "nothing";
  return typeof node.value === "string" ? "text" : String(node.value);
}
