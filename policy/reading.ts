import type { ContentScanner } from "./content-scanner.ts";
import { type Field, type FieldMap, required } from "./field-reader.ts";
import type { PriceCatalogue } from "./price-catalogue.ts";

/** What one reading of a document goes by. */
export type Reading = {
  /** A bundle says everything itself. A file may leave fields to defaults and to the catalogue. */
  readonly complete: boolean;
  /** Prices for models that name none; only for files. */
  readonly catalogue: PriceCatalogue | undefined;
  /** Without it rules are read and not tried on the engine: for readers that do not enforce. */
  readonly scanner: ContentScanner | undefined;
};

/**
 * The value of a field that has a default. A bundle must state it.
 *
 * What is returned beside a reported error is only there to go on with: a document with errors is
 * never handed out.
 */
export function readOr<T>(
  reading: Reading,
  at: { readonly map: FieldMap; readonly name: string; readonly fallback: T },
  read: (field: Field) => T | undefined,
): T {
  const field = reading.complete ? required(at.map, at.name) : at.map.get(at.name);
  return (field && read(field)) ?? at.fallback;
}

/** The value of a field that must be there. */
export function readRequired<T>(
  at: { readonly map: FieldMap; readonly name: string; readonly fallback: T },
  read: (field: Field) => T | undefined,
): T {
  const field = required(at.map, at.name);
  return (field && read(field)) ?? at.fallback;
}

/** `{ [name]: value }` when the field is there and sound, else nothing: for optional members. */
export function readOptional<K extends string, T>(
  map: FieldMap,
  at: { readonly name: string; readonly as: K },
  read: (field: Field) => T | undefined,
): { readonly [P in K]?: T } {
  const field = map.get(at.name);
  const value = field && read(field);
  return value === undefined ? {} : ({ [at.as]: value } as { readonly [P in K]?: T });
}
