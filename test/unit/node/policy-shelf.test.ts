import { expect, test } from "vitest";
import { contentScanner } from "../../../node/content-scanner.ts";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import { PolicyShelf } from "../../../node/policy-shelf.ts";
import { rehearsePolicy } from "../../../node/rehearse-policy.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { e2ePolicy } from "../../support/e2e-policy.ts";

const CLOCK = { monoNs: () => 0n };

function bundle(): Uint8Array {
  const read = readPolicy(e2ePolicy("http://127.0.0.1:1"), {
    file: "policy.yaml",
    scanner: contentScanner,
  });
  if (!read.ok) throw new Error("the policy of the end-to-end tests is not one");
  return read.bundle;
}

test("a policy in force stays, however many come after it that never are", async () => {
  const shelf = new PolicyShelf({
    scanners: createPolicyScanners(),
    clock: CLOCK,
    inForce: () => 1,
    nextTurn: () => Promise.resolve(),
  });
  const same = bundle();
  for (const version of [1, 2, 3, 4, 5, 6]) await shelf.put(version, same);
  expect(shelf.of(1)).toMatchObject({ version: 1 });
  expect(shelf.of(2)).toBeUndefined();
  expect(shelf.newest()).toMatchObject({ version: 6 });
});

test("what was rehearsed is there at once, with its rules, as the first policy and never again", async () => {
  const same = bundle();
  const rehearsed = await rehearsePolicy(same);
  if (rehearsed === undefined) throw new Error("it is a policy");
  const { scanners } = rehearsed;
  const nextTurn = () => Promise.resolve();
  const shelf = new PolicyShelf({ scanners, rehearsed, clock: CLOCK, inForce: () => 0, nextTurn });
  const first = await shelf.put(3, Buffer.from(same));
  expect(first.version).toBe(3);
  expect(first.agents).toBe(rehearsed.policy.agents);
  expect((await shelf.put(4, same)).agents).not.toBe(rehearsed.policy.agents);
});
