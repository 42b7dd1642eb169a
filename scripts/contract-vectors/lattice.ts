import { type Authority, isStrictlyLess, leq, meet } from "../../authority/authority.ts";
import { writeAuthority } from "../../authority/authority-json.ts";
import { AUTHORITY, halved } from "../../test/support/contract-forge.ts";

/** Two grants, and how they compare. Dates stand beside the rest as they do in a contract. */
export type LatticeVector = {
  readonly name: string;
  readonly child: unknown;
  readonly parent: unknown;
  readonly leq: boolean;
  readonly strictly_less: boolean;
  readonly meet: unknown;
};

export function latticeVectors(): { readonly vectors: readonly LatticeVector[] } {
  return { vectors: pairs().map(vectorOf) };
}

function vectorOf([name, child, parent]: Pair): LatticeVector {
  return {
    name,
    child: written(child),
    parent: written(parent),
    leq: leq(child, parent),
    strictly_less: isStrictlyLess(child, parent),
    meet: written(meet(child, parent)),
  };
}

function written(of: Authority): unknown {
  const { notBefore, expires } = of.validity;
  return { ...writeAuthority(of), nbf: notBefore, exp: expires };
}

type Pair = readonly [name: string, child: Authority, parent: Authority];

function pairs(): readonly Pair[] {
  const { dataClass, geography, rate, validity } = AUTHORITY;
  const on = (name: string, child: Partial<Authority>, parent: Partial<Authority> = {}): Pair => [
    name,
    { ...AUTHORITY, ...child },
    { ...AUTHORITY, ...parent },
  ];
  const hours = (zone: string, from: number, until: number) => ({
    validity: { ...validity, hours: [{ zone, minutes: [[from, until] as const] }] },
  });
  return [
    on("equal", {}),
    ["half of the money", halved(AUTHORITY), AUTHORITY],
    ["twice the money", AUTHORITY, halved(AUTHORITY)],
    on("a literal in a pattern", { models: ["x/a"] }, { models: ["x/*"] }),
    on("a pattern does not cover its own stem", { models: ["x/a"] }, { models: ["x/a/*"] }),
    on("two literals do not make a pattern", { models: ["x/*"] }, { models: ["x/a", "x/b"] }),
    on("no models", { models: [] }),
    on("a verb less", { tools: new Map([["mcp/github/*", ["read"]]]) }),
    on("a lower level", { dataClass: { ...dataClass, level: 1 } }),
    on("another scheme", { dataClass: { ...dataClass, scheme: "other" } }),
    on("fewer hours", hours("UTC", 60, 120), hours("UTC", 0, 600)),
    on("another zone", hours("UTC", 60, 120), hours("Europe/Berlin", 0, 600)),
    on("only a sooner end", { validity: { ...validity, expires: validity.expires - 1 } }),
    on("a slower refill", { rate: { ...rate, req: { burst: 20, amount: 1, seconds: 1 } } }),
    on("a smaller burst and a faster refill", {
      rate: { ...rate, req: { burst: 1, amount: 11, seconds: 1 } },
    }),
    on(
      "a part of a country",
      { geography: { ...geography, src: ["US-CA"] } },
      { geography: { ...geography, src: ["US"] } },
    ),
  ];
}
