import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Authority,
  DIMENSION_NAMES,
  meet,
  normalAuthority,
} from "../../../authority/authority.ts";
import { classClears } from "../../../authority/data-class.ts";
import { FACETS, placeGranted } from "../../../authority/geography.ts";
import { coversName } from "../../../authority/name-pattern.ts";
import { toolsGrant, VERBS, type Verb } from "../../../authority/tools.ts";
import { isValidAt } from "../../../authority/validity.ts";
import { AUTHORITY } from "../../support/contract-forge.ts";
import { proofCount } from "../../support/proof.ts";
import { anyAuthority, anyName, anyVerb, CODES } from "./arbitrary.ts";

// The whole guarantee, said without the lattice: a request that runs under a chain is one that every
// link of the chain, asked by itself, would have let through.

type Ask = {
  readonly model: string;
  readonly tool: string;
  readonly verb: Verb;
  readonly atMs: number;
  readonly place: string;
  readonly data: {
    readonly scheme: string;
    readonly level: number;
    readonly compartments: string[];
  };
  readonly calls: number;
};

const anyAsk: fc.Arbitrary<Ask> = fc.record({
  model: anyName,
  tool: anyName,
  verb: anyVerb,
  atMs: fc.integer({ min: 0, max: 9_000 }),
  place: fc.constantFrom(...CODES),
  data: fc.record({
    scheme: fc.constantFrom("c4", "other"),
    level: fc.integer({ min: 0, max: 3 }),
    compartments: fc.subarray(["pci", "phi", "pii"]),
  }),
  calls: fc.integer({ min: 0, max: 4 }),
});

/** Grants what is asked for here in every dimension. */
const WIDE: Authority = normalAuthority({
  ...AUTHORITY,
  models: ["a", "a/*", "ab", "ab/*", "b", "b/*"],
  tools: new Map(["a", "a/*", "ab", "ab/*", "b", "b/*"].map((one) => [one, VERBS])),
  dataClass: { scheme: "c4", level: 3, compartments: ["pci", "phi", "pii"] },
  validity: { notBefore: 0, expires: 9, hours: [] },
  geography: { egr: ["DE", "US"], proc: ["DE", "US"], src: ["DE", "US"] },
});

/** Bounded in some dimensions only, or hardly anything would pass a whole chain. */
const anyLink = fc
  .tuple(anyAuthority, fc.subarray([...DIMENSION_NAMES], { maxLength: 2 }))
  .map(([of, bounded]): Authority => {
    const bounds = Object.fromEntries(bounded.map((name) => [name, of[name]]));
    return { ...WIDE, ...bounds };
  });

/** One grant, asked in every dimension; a clock that shows every zone its own minute. */
function lets(of: Authority, ask: Ask): boolean {
  const minute = (zone: string, nowMs: number) => (nowMs * 7 + zone.length * 2_000) % 10_080;
  return (
    coversName(of.models, ask.model) &&
    toolsGrant(of.tools, ask.tool, ask.verb) &&
    isValidAt(of.validity, ask.atMs, minute) &&
    FACETS.every((facet) => placeGranted(of.geography[facet], ask.place)) &&
    classClears(of.dataClass, ask.data) &&
    ask.calls <= of.budget.calls
  );
}

describe("a chain of grants", () => {
  const { count, seed } = proofCount("chains against their links", { small: 500, full: 200_000 });

  test("V5: effective authority lets through exactly what all links let through", () => {
    let allowed = 0;
    fc.assert(
      fc.property(
        fc.array(anyLink, { minLength: 1, maxLength: 5 }),
        fc.array(anyAsk, { minLength: 4, maxLength: 4 }),
        (links, asks) => {
          const effective = links.reduce(meet);
          for (const ask of asks) {
            const all = links.every((link) => lets(link, ask));
            if (all) allowed += 1;
            expect(lets(effective, ask)).toBe(all);
          }
        },
      ),
      { numRuns: count, seed },
    );
    // What is never let through would show nothing.
    expect(allowed).toBeGreaterThan(0);
  });
});
