import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { PolicyView } from "../../../coordinator/policy-view.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import { PolicySchema } from "../../../proto/gen/altrace/v1/record_pb.ts";

function policyOf(text: string): MeshRecord {
  const value = create(PolicySchema, { body: Buffer.from(text) });
  return { hashHex: text, op: { case: "policy", value } } as MeshRecord;
}

test("a bundle is read once, the next one when it is in force, and none before there is one", () => {
  let inForce: MeshRecord | undefined;
  const read: string[] = [];
  const view = new PolicyView({ state: { get: () => inForce } }, (bundle) => {
    read.push(Buffer.from(bundle).toString());
    return read.length;
  });
  expect(view.now).toBeUndefined();
  inForce = policyOf("first");
  expect([view.now, view.now]).toEqual([1, 1]);
  inForce = policyOf("second");
  expect(view.now).toBe(2);
  expect(read).toEqual(["first", "second"]);
});
