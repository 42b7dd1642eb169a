import { expect, test } from "vitest";
import { KeyMemo } from "../../../../node/dataplane/key-memo.ts";

test("a connection's credential is read once, and none is ever taken for another", () => {
  const memo = new KeyMemo();
  const asked: string[] = [];
  const read = (credential: string) => {
    asked.push(credential);
    return { handle: `hash of ${credential}`, isContract: false, agentId: "" };
  };
  for (const credential of ["", "one", "one", "other", "other", "one"]) {
    expect(memo.of(credential, read)).toMatchObject({ handle: `hash of ${credential}` });
  }
  expect(asked).toEqual(["", "one", "other", "one"]);
});
