import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isStrictlyLess, leq, meet, widerDimension } from "../../../authority/authority.ts";
import { BUDGET_UNITS, budget } from "../../../authority/budget.ts";
import { classClears, dataClass } from "../../../authority/data-class.ts";
import type { Dimension } from "../../../authority/dimension.ts";
import { FACETS, geography, placeGranted } from "../../../authority/geography.ts";
import { models } from "../../../authority/models.ts";
import { coversName } from "../../../authority/name-pattern.ts";
import { type Bucket, RATE_METRICS, rate } from "../../../authority/rate.ts";
import { tools, toolsGrant } from "../../../authority/tools.ts";
import { isValidAt, validity } from "../../../authority/validity.ts";
import { AUTHORITY, halved } from "../../support/contract-forge.ts";
import { proofCount } from "../../support/proof.ts";
import {
  anyAuthority,
  anyBudget,
  anyDataClass,
  anyGeography,
  anyModels,
  anyName,
  anyRate,
  anyTools,
  anyValidity,
  anyVerb,
  CODES,
} from "./arbitrary.ts";

const { count, seed } = proofCount("lattice laws a dimension", { small: 400, full: 100_000 });
const RUNS = { numRuns: count, seed };

/** A dimension, values of it, and what it lets through: one question, asked of any value. */
type Case<T> = {
  readonly name: string;
  readonly of: Dimension<T>;
  readonly any: fc.Arbitrary<T>;
  readonly question: fc.Arbitrary<(value: T) => boolean>;
  /** False: the meet may let through less than asking both, never more. */
  readonly isExact: boolean;
};

const CASES = [
  {
    name: "budget",
    of: budget,
    any: anyBudget,
    question: fc.tuple(fc.constantFrom(...BUDGET_UNITS), fc.integer({ min: 0, max: 5 })).map(
      ([unit, amount]) =>
        (value) =>
          amount <= value[unit],
    ),
    isExact: true,
  } satisfies Case<Parameters<typeof budget.normal>[0]>,
  {
    name: "models",
    of: models,
    any: anyModels,
    question: anyName.map((name) => (value) => coversName(value, name)),
    isExact: true,
  } satisfies Case<Parameters<typeof models.normal>[0]>,
  {
    name: "tools",
    of: tools,
    any: anyTools,
    question: fc.tuple(anyName, anyVerb).map(
      ([name, verb]) =>
        (value) =>
          toolsGrant(value, name, verb),
    ),
    isExact: true,
  } satisfies Case<Parameters<typeof tools.normal>[0]>,
  {
    name: "data class",
    of: dataClass,
    any: anyDataClass,
    question: anyDataClass.map((data) => (value) => classClears(value, data)),
    isExact: true,
  } satisfies Case<Parameters<typeof dataClass.normal>[0]>,
  {
    name: "validity",
    of: validity,
    any: anyValidity,
    // Any function of zone and instant may be a zone's clock: the law rests on no rule of time.
    question: fc
      .tuple(fc.integer({ min: 0, max: 9_000 }), fc.func(fc.integer({ min: 0, max: 10_079 })))
      .map(
        ([nowMs, clock]) =>
          (value) =>
            isValidAt(value, nowMs, (zone, at) => clock(zone, at)),
      ),
    isExact: true,
  } satisfies Case<Parameters<typeof validity.normal>[0]>,
  {
    name: "rate",
    of: rate,
    any: anyRate,
    question: fc
      .tuple(
        fc.constantFrom(...RATE_METRICS),
        fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 4 })), {
          minLength: 1,
          maxLength: 6,
        }),
      )
      .map(
        ([metric, arrivals]) =>
          (value) =>
            conforms(value[metric], arrivals),
      ),
    isExact: false,
  } satisfies Case<Parameters<typeof rate.normal>[0]>,
  {
    name: "geography",
    of: geography,
    any: anyGeography,
    question: fc.tuple(fc.constantFrom(...FACETS), fc.constantFrom(...CODES, "FR", undefined)).map(
      ([facet, code]) =>
        (value) =>
          placeGranted(value[facet], code),
    ),
    isExact: true,
  } satisfies Case<Parameters<typeof geography.normal>[0]>,
] as unknown as readonly Case<unknown>[];

describe.each(CASES)("$name", ({ of, any, question, isExact }) => {
  test("normal forms are their own normal form", () => {
    fc.assert(
      fc.property(any, (a) => {
        expect(of.normal(a)).toEqual(a);
      }),
      RUNS,
    );
  });

  test("O1: the order is reflexive, transitive and antisymmetric", () => {
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        if (!of.leq(a, a)) return false;
        if (of.leq(a, b) && of.leq(b, c) && !of.leq(a, c)) return false;
        return !(of.leq(a, b) && of.leq(b, a)) || isDeepStrictEqual(a, b);
      }),
      RUNS,
    );
  });

  test("O2: the meet is the greatest lower bound", () => {
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        const both = of.meet(a, b);
        if (!isDeepStrictEqual(of.normal(both), both)) return false;
        if (!of.leq(both, a) || !of.leq(both, b)) return false;
        return !(of.leq(c, a) && of.leq(c, b)) || of.leq(c, both);
      }),
      RUNS,
    );
  });

  test("O2: the meet is idempotent, commutative and associative, and says what the order says", () => {
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        const { meet } = of;
        return (
          isDeepStrictEqual(meet(a, a), a) &&
          isDeepStrictEqual(meet(a, b), meet(b, a)) &&
          isDeepStrictEqual(meet(meet(a, b), c), meet(a, meet(b, c))) &&
          of.leq(a, b) === isDeepStrictEqual(meet(a, b), a)
        );
      }),
      RUNS,
    );
  });

  test("O3: what is below lets through nothing more, and the meet what both let through", () => {
    fc.assert(
      fc.property(any, any, question, (a, b, asks) => {
        if (of.leq(a, b) && asks(a) && !asks(b)) return false;
        const both = asks(of.meet(a, b));
        return isExact ? both === (asks(a) && asks(b)) : !both || (asks(a) && asks(b));
      }),
      RUNS,
    );
  });
});

describe("authority", () => {
  test("S1, S3: order and meet are those of the seven dimensions together", () => {
    fc.assert(
      fc.property(anyAuthority, anyAuthority, (a, b) => {
        const both = meet(a, b);
        expect(leq(both, a)).toBe(true);
        expect(leq(both, b)).toBe(true);
        expect(leq(a, b)).toBe(isDeepStrictEqual(both, a));
      }),
      RUNS,
    );
  });

  test("S2: strictly less is irreflexive, and never holds both ways", () => {
    fc.assert(
      fc.property(anyAuthority, anyAuthority, (a, b) => {
        expect(isStrictlyLess(a, a)).toBe(false);
        expect(isStrictlyLess(a, b) && isStrictlyLess(b, a)).toBe(false);
      }),
      RUNS,
    );
  });

  test("S2: an end one second sooner is below and not strictly less; half of the money is", () => {
    const { validity: dates } = AUTHORITY;
    const sooner = { ...AUTHORITY, validity: { ...dates, expires: dates.expires - 1 } };
    expect(leq(sooner, AUTHORITY)).toBe(true);
    expect(isStrictlyLess(sooner, AUTHORITY)).toBe(false);
    expect(isStrictlyLess(halved(AUTHORITY), AUTHORITY)).toBe(true);
  });

  test("the first dimension that is too wide is named", () => {
    expect(widerDimension(AUTHORITY, halved(AUTHORITY))).toBe("budget");
    expect(widerDimension({ ...AUTHORITY, models: ["openai/*"] }, AUTHORITY)).toBe("models");
  });
});

/** A token bucket, run: never more than its burst at once, refilled by exact fractions. */
function conforms(of: Bucket, arrivals: readonly (readonly [waitS: number, amount: number])[]) {
  const seconds = BigInt(of.seconds);
  const full = BigInt(of.burst) * seconds;
  let level = full;
  for (const [waitS, amount] of arrivals) {
    const refilled = level + BigInt(of.amount) * BigInt(waitS);
    level = (refilled < full ? refilled : full) - BigInt(amount) * seconds;
    if (level < 0n) return false;
  }
  return true;
}
