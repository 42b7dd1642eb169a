import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
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

test("it keeps the credential, and not the head that it was read in", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heapBytes = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const headBytes = 64 * 1024;
  const before = heapBytes();
  const memos = Array.from({ length: 300 }, (_, no) => {
    const memo = new KeyMemo();
    const credential = `Bearer altk_0123456789abcdef-${no} `;
    const head = Buffer.from(credential + "x".repeat(headBytes)).toString("latin1");
    memo.of(head.slice(0, credential.length), () => ({ missing: "credential_missing" }));
    return memo;
  });
  expect(heapBytes() - before).toBeLessThan((memos.length * headBytes) / 3);
});
