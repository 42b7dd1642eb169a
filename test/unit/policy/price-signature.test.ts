import { generateKeyPairSync, sign } from "node:crypto";
import { expect, test } from "vitest";
import snapshot from "../../../policy/price-catalogue.json" with { type: "json" };
import signature from "../../../policy/price-catalogue.sig.json" with { type: "json" };
import { priceCatalogueFlaw } from "../../../policy/price-catalogue.ts";
import publicKey from "../../../policy/price-maintainer.json" with { type: "json" };
import { flawOfPrices, signedPriceBytes } from "../../../policy/price-signature.ts";

const SIGNED = { snapshot, signature, publicKey };

test("the snapshot of this version is as the maintainer signed it", () => {
  expect(priceCatalogueFlaw()).toBeUndefined();
});

test("the order and layout of the file are not what is signed", () => {
  const entries = Object.entries(snapshot).reverse();
  expect(flawOfPrices({ ...SIGNED, snapshot: Object.fromEntries(entries) })).toBeUndefined();
});

test.each<[string, (copy: typeof snapshot) => void]>([
  [
    "a price that is one micro-dollar less",
    (copy) => void copy.providers.openai["gpt-5"].outputMicrosPerMtok--,
  ],
  [
    "an output bound that is one less",
    (copy) => void copy.providers.openai["gpt-5"].maxOutputTokens--,
  ],
  ["another day", (copy) => void Object.assign(copy, { date: "2026-01-01" })],
  ["a model more", (copy) => void Object.assign(copy.providers.openai, { free: {} })],
  ["a model less", (copy) => void Reflect.deleteProperty(copy.providers.openai, "gpt-5")],
])("%s is refused, and the file is named", (_title, change) => {
  const copy = structuredClone(snapshot);
  change(copy);
  expect(flawOfPrices({ ...SIGNED, snapshot: copy })).toBe(
    "policy/price-catalogue.json: is not what the key in policy/price-maintainer.json has signed",
  );
});

test("a signature by any other key, of anything else, or none is refused", () => {
  const other = generateKeyPairSync("ed25519");
  const by = (bytes: Uint8Array) => ({
    ed25519: sign(null, bytes, other.privateKey).toString("base64"),
  });
  const bytes = signedPriceBytes(snapshot);
  const flaw = /^policy\/price-catalogue\.json: is not what/;
  expect(flawOfPrices({ ...SIGNED, signature: by(bytes) })).toMatch(flaw);
  const own = other.publicKey.export({ format: "jwk" });
  expect(flawOfPrices({ snapshot, signature: by(bytes), publicKey: own })).toBeUndefined();
  // What another protocol signs with that key is no list of prices.
  const bare = bytes.subarray(bytes.indexOf(0) + 1);
  expect(flawOfPrices({ snapshot, signature: by(bare), publicKey: own })).toMatch(flaw);
  for (const none of [undefined, null, {}, { ed25519: 7 }, { ed25519: "" }, { ed25519: "AAAA" }]) {
    expect(flawOfPrices({ ...SIGNED, signature: none })).toMatch(
      /^policy\/price-catalogue\.sig\.json/,
    );
  }
  for (const key of [null, {}, "", { kty: "OKP", crv: "Ed25519", x: "AA" }]) {
    expect(flawOfPrices({ ...SIGNED, publicKey: key })).toMatch(/^policy\/price-maintainer\.json/);
  }
});
