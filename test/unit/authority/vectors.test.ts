import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { chainVectors } from "../../../scripts/contract-vectors/chains.ts";
import { latticeVectors } from "../../../scripts/contract-vectors/lattice.ts";
import { type Schema, violations } from "../policy/schema-violations.ts";

const folder = new URL("../../../authority/vectors/", import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const schema = read("contract.schema.json") as Schema;

describe("authority/vectors", () => {
  test("chains.json is what the code makes and says: `npm run vectors`", () => {
    expect(read("chains.json")).toEqual(JSON.parse(JSON.stringify(chainVectors())));
  });

  test("lattice.json is what the code says: `npm run vectors`", () => {
    expect(read("lattice.json")).toEqual(JSON.parse(JSON.stringify(latticeVectors())));
  });

  test("holds good chains and bad ones, each bad one for its reason", () => {
    const { vectors } = chainVectors();
    expect(vectors.filter(({ ids }) => ids !== undefined).length).toBeGreaterThanOrEqual(4);
    expect(new Set(vectors.flatMap(({ refused }) => refused ?? [])).size).toBeGreaterThanOrEqual(
      20,
    );
  });

  test("every payload of a good chain is what the schema says", () => {
    const good = chainVectors().vectors.filter(({ ids }) => ids !== undefined);
    for (const token of good.flatMap(({ chain }) => chain.split("~"))) {
      const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
      expect(violations(schema, JSON.parse(payload))).toEqual([]);
      const more = { ...JSON.parse(payload), scope: "all" };
      expect(violations(schema, more)).not.toEqual([]);
    }
  });
});
