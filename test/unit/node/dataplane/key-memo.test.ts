import { expect, test } from "vitest";
import { KeyMemo } from "../../../../node/dataplane/key-memo.ts";

test("a connection's key is hashed once, and no key is ever given another's hash", () => {
  const memo = new KeyMemo();
  const hashed: string[] = [];
  const hash = (key: string): string => {
    hashed.push(key);
    return `hash of ${key}`;
  };
  for (const key of ["one", "one", "other", "other", "one"]) {
    expect(memo.hashOf(key, hash)).toBe(`hash of ${key}`);
  }
  expect(hashed).toEqual(["one", "other", "one"]);
});
