import { expect, test } from "vitest";
import { RpcError } from "../../../adapters/grpc-error.ts";
import { rehearseCalls } from "../../../coordinator/rehearse-calls.ts";

/** Calls of which so many are answered. */
function answering(count: number, fault: Error) {
  const scopes: unknown[] = [];
  const getScope = async ({ scope }: { scope?: string }) => {
    if (scopes.length >= count) throw fault;
    scopes.push(scope);
    return {} as never;
  };
  return { scopes, calls: { getScope } };
}

const GONE = new RpcError({ code: "UNAVAILABLE", reason: "unavailable", message: "gone" });

test("as many calls are made as were asked for, of what is there in every mesh", async () => {
  const { calls, scopes } = answering(100, GONE);
  expect(await rehearseCalls(calls, 3)).toBe(3);
  expect(scopes).toEqual(["global", "global", "global"]);
});

test("one that is not answered is the last; a bug is none of that", async () => {
  expect(await rehearseCalls(answering(2, GONE).calls, 9)).toBe(2);
  await expect(rehearseCalls(answering(2, new TypeError("bug")).calls, 9)).rejects.toThrow("bug");
});
