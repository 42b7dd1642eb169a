import { expect, test } from "vitest";
import type { PolicyNow } from "../../../coordinator/policy-in-hand.ts";
import { PolicyView } from "../../../coordinator/policy-view.ts";

const policyOf = (text: string) => ({ v: 1, hashHex: text, bundle: Buffer.from(text) });

test("a bundle is read once, the next one when it is in hand, and none before there is one", () => {
  const inHand: { now: PolicyNow | undefined } = { now: undefined };
  const read: string[] = [];
  const view = new PolicyView(inHand, (bundle) => {
    read.push(Buffer.from(bundle).toString());
    return read.length;
  });
  expect(view.now).toBeUndefined();
  inHand.now = policyOf("first");
  expect([view.now, view.now]).toEqual([1, 1]);
  inHand.now = policyOf("second");
  expect(view.now).toBe(2);
  expect(read).toEqual(["first", "second"]);
});
