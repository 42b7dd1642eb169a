import { expect, test, vi } from "vitest";
import { policyInSlices, policyOfBundle } from "../../../coordinator/policy-of-bundle.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { turnsDuring } from "../../support/loop-turns.ts";
import { smallBundle } from "./small-policy.ts";

/** A policy whose reading takes many steps, and which no other test has read. */
function bundleOf(agents: number, note: string): Uint8Array {
  const lines = Array.from({ length: agents }, (_, no) => `      a${no}: {}`).join("\n");
  const teams = `  red:
    budget: { usd: { total: "1" } }
    defaults: { models: [openai/gpt-x], clearance: public }
    agents:
${lines}`;
  return smallBundle(teams, `${note}.test`);
}

/** A clock of which each look takes so long that every step fills a slice. */
const slowClock = () => {
  const clock = twinClock();
  let ns = 0n;
  return { ...clock, monoNs: () => (ns += 2_000_000n) };
};

test("a policy is read in slices, and once for all copies of its bytes", async () => {
  const bundle = bundleOf(200, "sliced");
  const { turns, result: read } = await turnsDuring(policyInSlices(bundle, slowClock()));
  expect(turns).toBeGreaterThan(5);
  expect(read).toMatchObject({ ok: true });
  expect(policyOfBundle(Buffer.from(bundle))).toBe(read);
  expect(await policyInSlices(bundle.slice(), slowClock())).toBe(read);
});

test("what somebody else has read meanwhile is not read to its end again", async () => {
  const bundle = bundleOf(200, "overtaken");
  const clock = slowClock();
  const looks = vi.spyOn(clock, "monoNs");
  const ahead = policyInSlices(bundle, clock);
  const read = policyOfBundle(bundle.slice());
  expect(await ahead).toBe(read);
  expect(looks.mock.calls.length).toBeLessThan(5);
});

test("what is no policy is known as such, and old policies are forgotten", async () => {
  const bad = Buffer.from("{}");
  const read = await policyInSlices(bad, twinClock());
  expect(read).toMatchObject({ ok: false });
  expect(policyOfBundle(bad)).toBe(read);
  for (const name of ["one", "two", "three"]) policyOfBundle(bundleOf(1, name));
  expect(policyOfBundle(bad)).not.toBe(read);
});
