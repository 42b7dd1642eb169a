import { expect, test } from "vitest";
import { contentScanner } from "../../../node/content-scanner.ts";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import { PolicyShelf } from "../../../node/policy-shelf.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { e2ePolicy } from "../../support/e2e-policy.ts";

test("a policy in force stays, however many come after it that never are", async () => {
  const read = readPolicy(e2ePolicy("http://127.0.0.1:1"), {
    file: "policy.yaml",
    scanner: contentScanner,
  });
  if (!read.ok) throw new Error("the policy of the end-to-end tests is not one");
  const shelf = new PolicyShelf({
    scanners: createPolicyScanners(),
    clock: { monoNs: () => 0n },
    inForce: () => 1,
    nextTurn: () => Promise.resolve(),
  });
  for (const version of [1, 2, 3, 4, 5, 6]) await shelf.put(version, read.bundle);
  expect(shelf.of(1)).toMatchObject({ version: 1 });
  expect(shelf.of(2)).toBeUndefined();
  expect(shelf.newest()).toMatchObject({ version: 6 });
});
