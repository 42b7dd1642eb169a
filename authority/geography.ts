import { isRegionCode } from "../proto/region-code.ts";
import type { Dimension } from "./dimension.ts";
import { isSameList, isStrictlySorted } from "./strictly-sorted.ts";

export const FACETS = ["egr", "proc", "src"] as const;
export type Facet = (typeof FACETS)[number];

/**
 * Where data may leave from (`src`), be processed (`proc`) and go out to the world (`egr`): ISO 3166
 * codes, a country covering its subdivisions. Groups such as "EU" are expanded before a contract is
 * made. None is bottom.
 */
export type Geography = { readonly [F in Facet]: readonly string[] };

export const geography: Dimension<Geography> = {
  normal: (value) => eachFacet((facet) => normalCodes(value[facet])),
  leq: (child, parent) =>
    FACETS.every((facet) =>
      child[facet].every((code) => parent[facet].some((wide) => liesIn(code, wide))),
    ),
  meet: (one, other) =>
    eachFacet((facet) => {
      const [codes, others] = [one[facet], other[facet]];
      // A delegation mostly leaves places alone, and a set met with itself is itself.
      if (isSameList(codes, others)) return codes;
      return normalCodes(codes.flatMap((a) => others.flatMap((b) => commonPlace(a, b) ?? [])));
    }),
};

/** True when the place lies in one that is granted. A place that is not known lies nowhere. */
export function placeGranted(granted: readonly string[], code: string | undefined): boolean {
  if (code === undefined || !isRegionCode(code)) return false;
  for (const wide of granted) if (liesIn(code, wide)) return true;
  return false;
}

function eachFacet(codesOf: (facet: Facet) => readonly string[]): Geography {
  return { egr: codesOf("egr"), proc: codesOf("proc"), src: codesOf("src") };
}

function liesIn(code: string, wide: string): boolean {
  return code === wide || (wide.length === 2 && code.startsWith(`${wide}-`));
}

function commonPlace(one: string, other: string): string | undefined {
  if (liesIn(one, other)) return one;
  return liesIn(other, one) ? other : undefined;
}

function normalCodes(codes: readonly string[]): readonly string[] {
  if (isStrictlySorted(codes) && !hasPart(codes)) return codes;
  const distinct = [...new Set(codes)].sort();
  return distinct.filter((one) => distinct.every((other) => other === one || !liesIn(one, other)));
}

/** A part of a country sorts behind it, with nothing but other parts of it in between. */
function hasPart(codes: readonly string[]): boolean {
  for (let i = 1; i < codes.length; i++) {
    if (liesIn(codes[i] as string, codes[i - 1] as string)) return true;
  }
  return false;
}
