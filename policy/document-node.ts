/** A policy as a tree of plain values that still knows where each was written. */

/** Line and column from 1. Both 0: the text has no lines that a person would look at. */
export type Place = { readonly line: number; readonly column: number };

export const NO_PLACE: Place = { line: 0, column: 0 };

export type DocumentEntry = {
  readonly key: string;
  readonly keyPlace: Place;
  /** A function, so that a large tree is made where it is read and not at once. */
  readonly value: () => DocumentNode;
};

export type DocumentNode =
  | { readonly kind: "map"; readonly place: Place; readonly entries: readonly DocumentEntry[] }
  | { readonly kind: "list"; readonly place: Place; readonly items: readonly DocumentNode[] }
  | {
      readonly kind: "scalar";
      readonly place: Place;
      readonly value: string | number | boolean | null;
    };

/** A value of JSON.parse as a tree without places. */
export function nodeOfJson(value: unknown): DocumentNode {
  if (Array.isArray(value)) {
    return { kind: "list", place: NO_PLACE, items: value.map(nodeOfJson) };
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, member]) => ({
      key,
      keyPlace: NO_PLACE,
      value: () => nodeOfJson(member),
    }));
    return { kind: "map", place: NO_PLACE, entries };
  }
  return { kind: "scalar", place: NO_PLACE, value: value as string | number | boolean | null };
}
