import { expect, test } from "vitest";
import { regionGranted } from "../../../policy/regions.ts";
import { COUNTRY_CODES, COUNTRY_GROUPS } from "../../../proto/country-codes.ts";
import { isRegionCode } from "../../../proto/region-code.ts";

test("a country covers its subdivisions, never the other way round", () => {
  expect(regionGranted(["US"], "US")).toBe(true);
  expect(regionGranted(["US"], "US-CA")).toBe(true);
  expect(regionGranted(["US-CA"], "US-CA")).toBe(true);
  expect(regionGranted(["US-CA"], "US")).toBe(false);
  expect(regionGranted(["US-CA"], "US-NY")).toBe(false);
});

test("an unknown or malformed place lies nowhere", () => {
  for (const code of [undefined, "", "us", "EU", "UK", "US-", "US-ABCD", "USA", "U"]) {
    expect(regionGranted(["US", "EU", "UK", "us", ""], code)).toBe(false);
  }
});

test("ISO 3166-1 has 249 assigned codes, and the groups are made of them", () => {
  expect(COUNTRY_CODES.size).toBe(249);
  expect(COUNTRY_GROUPS.get("EU")).toHaveLength(27);
  expect(COUNTRY_GROUPS.get("EEA")).toHaveLength(30);
  for (const code of [...COUNTRY_GROUPS.values()].flat()) expect(isRegionCode(code)).toBe(true);
});

test("the codes are those that the runtime knows as countries", () => {
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  for (const code of COUNTRY_CODES) expect(names.of(code), code).toBeDefined();
});
