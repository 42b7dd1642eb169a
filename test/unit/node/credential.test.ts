import { expect, test } from "vitest";
import { presentedKey } from "../../../node/credential.ts";

const SECRET = "A".repeat(43);
const KEY = `altk_k1234567_${SECRET}`;
const PRESENTED = { keyId: "k1234567", key: KEY };

test.each([
  ["a bearer token", ["Authorization", `Bearer ${KEY}`]],
  ["a bearer token, spelt otherwise", ["authorization", `bearer   ${KEY} `]],
  ["x-api-key", ["X-Api-Key", KEY]],
  ["api-key", ["api-key", KEY]],
  ["x-goog-api-key", ["x-goog-api-key", KEY]],
  ["the same key in two headers", ["x-api-key", KEY, "authorization", `Bearer ${KEY}`]],
  ["a key beside a header that holds nothing", ["x-api-key", "", "authorization", `Bearer ${KEY}`]],
])("finds the key in %s", (_, headers) => {
  expect(presentedKey(headers)).toEqual(PRESENTED);
});

test.each([
  ["no header", [], "credential_missing"],
  ["headers without a value", ["x-api-key", " ", "authorization", "Bearer "], "credential_missing"],
  ["a cookie", ["cookie", KEY], "credential_missing"],
  ["a provider's own key", ["authorization", "Bearer sk-proj-123"], "foreign_credential"],
  ["another scheme", ["authorization", `Basic ${KEY}`], "foreign_credential"],
  [
    "a provider's key beside ours",
    ["x-api-key", "sk-ant-1", "authorization", `Bearer ${KEY}`],
    "credentials_conflict",
  ],
  [
    "two keys of ours",
    ["x-api-key", KEY, "api-key", `altk_k7654321_${SECRET}`],
    "credentials_conflict",
  ],
  [
    "the same header twice with two keys",
    ["x-api-key", KEY, "x-api-key", "altk_x"],
    "credentials_conflict",
  ],
  [
    "a secret that is too short",
    ["x-api-key", `altk_k1234567_${SECRET.slice(1)}`],
    "credential_malformed",
  ],
  ["a secret that is too long", ["x-api-key", `${KEY}A`], "credential_malformed"],
  ["an id in capitals", ["x-api-key", `altk_K1234567_${SECRET}`], "credential_malformed"],
  ["a line break at its end", ["x-api-key", `${KEY}\n${KEY}`], "credential_malformed"],
])("refuses %s", (_, headers, reason) => {
  expect(presentedKey(headers)).toEqual({ missing: reason });
});
