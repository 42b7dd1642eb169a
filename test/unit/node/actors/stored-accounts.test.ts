import { expect, test } from "vitest";
import { readStored } from "../../../../node/actors/stored-accounts.ts";
import { StoreFault } from "../../../../ports/store.ts";

test("an account whose entries the store finds damaged is told, and not served", () => {
  const damaged = new StoreFault("book/agent/a/b is not what was written");
  const store = {
    list: () => [],
    commit: () => Promise.reject(damaged),
    close: () => Promise.resolve(),
    get: () => {
      throw damaged;
    },
  };
  const faults: unknown[] = [];
  const of = { nowMs: 0, onFault: (error: unknown) => faults.push(error) };
  expect(readStored(store, "agent/a/b", of)).toBeUndefined();
  expect(faults).toEqual([damaged]);
});
