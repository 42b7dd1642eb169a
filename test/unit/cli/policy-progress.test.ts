import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { policyLines, policyProgress } from "../../../cli/policy-progress.ts";
import { NodeStateSchema } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";

const node = (name: string, said: object) =>
  create(NodeStateSchema, { node: name, live: true, ...said });

test("who decides by it, who refused it and why, and who has not said", () => {
  const progress = policyProgress(
    [
      node("n1", { policyVersion: 4n }),
      node("n2", { policyVersion: 5n }),
      node("n3", { policyVersion: 3n, policyRefusedVersion: 4n, policyRefused: "no format 9" }),
      // What it refused was an earlier one.
      node("n4", { policyVersion: 2n, policyRefusedVersion: 3n, policyRefused: "no format 8" }),
      node("n5", { live: false, policyVersion: 3n }),
    ],
    4n,
  );
  expect(progress).toEqual({
    inForce: ["n1", "n2"],
    refused: [{ node: "n3", why: "no format 9" }],
    waiting: ["n4"],
  });
  expect(policyLines(progress)).toEqual([
    "in force 2/4",
    "  n3 keeps the policy before it: no format 9",
    "  n4 has not said yet",
  ]);
});
