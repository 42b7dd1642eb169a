import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Authority,
  DIMENSION_NAMES,
  isStrictlyLess,
  meet,
  normalAuthority,
} from "../../../authority/authority.ts";
import { classClears } from "../../../authority/data-class.ts";
import { FACETS, placeGranted } from "../../../authority/geography.ts";
import { coversName } from "../../../authority/name-pattern.ts";
import { toolsGrant, VERBS, type Verb } from "../../../authority/tools.ts";
import { isValidAt, validity } from "../../../authority/validity.ts";
import { verifyChain } from "../../../authority/verify-chain.ts";
import {
  AUTHORITY,
  chainEnv,
  chainText,
  child,
  type Forged,
  NOW_S,
  root,
  verifyEd25519,
} from "../../support/contract-forge.ts";
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
  const { count, seed } = proofCount("chains against their links", { small: 4_000, full: 200_000 });

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

describe("a tree of delegations with adversarial links", () => {
  const { count, seed } = proofCount("delegation trees", { small: 100, full: 100_000 });
  const DATES = { notBefore: NOW_S - 60, expires: NOW_S + 3_600 };

  /** Dates that hold now, and a scheme that contracts can spell. */
  const grantable = anyAuthority.map((any) => {
    const { hours } = any.validity;
    const dated = validity.normal({ ...DATES, hours });
    return {
      ...any,
      validity: dated.expires === 0 ? { ...DATES, hours: [] } : dated,
      dataClass: any.dataClass.level < 0 ? AUTHORITY.dataClass : any.dataClass,
    };
  });

  type Link = { readonly parent: number; readonly wanted: Authority; readonly honest: boolean };
  const anyTree = fc.record({
    top: grantable,
    links: fc.array(
      fc.record({ parent: fc.nat({ max: 7 }), wanted: grantable, honest: fc.boolean() }),
      { minLength: 1, maxLength: 8 },
    ),
  });

  test("V4: what is accepted is strictly less in every link, and the rest is refused", () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(anyTree, ({ top, links }) => {
        const env = chainEnv({ verify: remembered() });
        const paths = [[root({ authority: top })]];
        for (const link of links) grow(paths, link);
        for (const path of paths.slice(1)) {
          const verified = verifyChain(chainText(...path), env);
          const grants = path.map(({ claims }) => claims.authority);
          const isBelow = grants.every(
            (grant, at) => at === 0 || isStrictlyLess(grant, grants[at - 1] as Authority),
          );
          expect("root" in verified).toBe(isBelow && path.length <= 5);
          if ("refused" in verified) refused += 1;
          else {
            accepted += 1;
            expect(verified.effective).toEqual(grants.reduce(meet));
          }
        }
      }),
      { numRuns: count, seed },
    );
    expect(accepted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  }, 1_200_000);

  /** A dishonest link signs whatever it wants; an honest one what it has of that. */
  function grow(paths: Forged[][], { parent, wanted, honest }: Link): void {
    const above = paths[parent % paths.length] as Forged[];
    const last = above.at(-1) as Forged;
    if (last.claims.depth >= 4) return;
    const granted = honest ? meet(wanted, last.claims.authority) : wanted;
    const isSpellable = granted.dataClass.level >= 0 && granted.validity.expires > 0;
    const authority = isSpellable ? granted : wanted;
    paths.push([...above, child(last, { authority })]);
  }

  /** Links are verified once for each path that they are in; the answer is the same. */
  function remembered(): typeof verifyEd25519 {
    const known = new Map<string, boolean>();
    return (key, bytes, signature) => {
      const name = Buffer.concat([key, bytes, signature]).toString("latin1");
      const before = known.get(name);
      if (before !== undefined) return before;
      const good = verifyEd25519(key, bytes, signature);
      known.set(name, good);
      return good;
    };
  }
});
