import { expect, test, vi } from "vitest";
import { PolicySwitch } from "../../../node/policy-switch.ts";
import { type RehearsedPolicy, rehearsePolicy } from "../../../node/rehearse-policy.ts";
import { createTable, policyVersion } from "../../../node/table/table.ts";
import type { ControlToLoop } from "../../../node/thread-messages.ts";
import { turnsDuring } from "../../support/loop-turns.ts";
import { smallBundle } from "../coordinator/small-policy.ts";

const log = () => ({ policyOffered: vi.fn(), policySwitched: vi.fn(), policyRefused: vi.fn() });

/** A switch with two loops, on a clock of which each look takes so long that every step fills a slice. */
function world(rehearsed?: RehearsedPolicy, isHeld = false) {
  const table = createTable({ rows: 4, loops: 2, scopes: 8, writers: 3, proofs: 64 });
  const posted: [loop: number, message: ControlToLoop][] = [];
  const loops = [0, 1].map((no) => ({
    no,
    post: (message: ControlToLoop) => void posted.push([no, message]),
    onMessage: () => undefined,
  }));
  let ns = 0n;
  const clock = { monoNs: () => (ns += 2_000_000n) };
  const onSwitched = vi.fn();
  const onRefused = vi.fn();
  const keepBundle = vi.fn();
  const switches = new PolicySwitch({
    ...{ table, clock, loops, onSwitched, onRefused, rehearsed, keepBundle },
    log: log() as never,
  });
  if (!isHeld) switches.begin();
  const offered = () =>
    posted.map(([no, message]) => [no, message.t === "policy" && message.version]);
  return { table, switches, offered, onSwitched, onRefused, keepBundle };
}

const bundleOf = (agents: number) =>
  smallBundle(
    `  red:
    budget: { usd: { total: "1" } }
    agents:
${Array.from({ length: agents }, (_, no) => `      a${no}: {}`).join("\n")}`,
  );

test("a policy is compiled in slices, and is in force once every loop has it", async () => {
  const { table, switches, offered, onSwitched } = world();
  const { turns } = await turnsDuring(switches.offer({ version: 1, bundle: bundleOf(200) }));
  expect(turns).toBeGreaterThan(5);
  expect(offered()).toEqual([
    [0, 1],
    [1, 1],
  ]);
  switches.ready(0, 1);
  expect(policyVersion(table)).toBe(0);
  switches.ready(1, 1);
  expect(policyVersion(table)).toBe(1);
  expect(onSwitched).toHaveBeenCalledTimes(1);
});

test("decides over no request before it may, and over all from then on", async () => {
  const { table, switches, onSwitched } = world(undefined, true);
  const put = async (version: number) => {
    await switches.offer({ version, bundle: bundleOf(2) });
    for (const loop of [0, 1]) switches.ready(loop, version);
  };
  await put(1);
  expect([policyVersion(table), switches.current?.version]).toEqual([0, 1]);
  expect(onSwitched).toHaveBeenCalledTimes(1);
  switches.begin();
  expect(policyVersion(table)).toBe(1);
  await put(2);
  expect(policyVersion(table)).toBe(2);
});

test("one that was rehearsed is not compiled again, and another one is", async () => {
  const bundle = bundleOf(200);
  const rehearsed = await rehearsePolicy(bundle);
  const { switches, keepBundle } = world(rehearsed);
  const { turns } = await turnsDuring(switches.offer({ version: 4, bundle: Buffer.from(bundle) }));
  expect(turns).toBeLessThan(5);
  expect(keepBundle).not.toHaveBeenCalled();
  for (const loop of [0, 1]) switches.ready(loop, 4);
  expect(switches.current).toEqual({ ...rehearsed?.policy, version: 4 });
  expect(keepBundle.mock.calls).toEqual([[Buffer.from(bundle)]]);
  const other = world(rehearsed);
  await other.switches.offer({ version: 4, bundle: bundleOf(3) });
  for (const loop of [0, 1]) other.switches.ready(loop, 4);
  expect(other.switches.current?.agents.size).toBe(3);
});

test("what a newer one overtakes while it waits never comes to the loops", async () => {
  const { switches, offered, onRefused } = world();
  const first = switches.offer({ version: 1, bundle: bundleOf(200) });
  const bad = switches.offer({ version: 2, bundle: Buffer.from("{}") });
  const last = switches.offer({ version: 3, bundle: bundleOf(2) });
  await Promise.all([first, bad, last]);
  expect(offered().map(([, version]) => version)).toEqual([1, 1, 3, 3]);
  expect(onRefused).not.toHaveBeenCalled();
  expect(switches.word).toMatchObject({ refusedVersion: 0 });
});

test("one that is being compiled comes into force though what came meanwhile is refused", async () => {
  const { table, switches, offered } = world();
  const first = switches.offer({ version: 1, bundle: bundleOf(200) });
  const bad = switches.offer({ version: 2, bundle: Buffer.from("{}") });
  await Promise.all([first, bad]);
  expect(offered().map(([, version]) => version)).toEqual([1, 1]);
  switches.ready(0, 1);
  switches.ready(1, 1);
  expect(policyVersion(table)).toBe(1);
  // Of the newest bundle it is told that it is not in force.
  expect(switches.word).toMatchObject({ version: 1, refusedVersion: 2 });
});

test("a policy that cannot be enforced is told, and the one before stays", async () => {
  const { table, switches, onRefused } = world();
  await switches.offer({ version: 1, bundle: bundleOf(1) });
  switches.ready(0, 1);
  switches.ready(1, 1);
  await switches.offer({ version: 2, bundle: Buffer.from("{}") });
  expect(onRefused).toHaveBeenCalledTimes(1);
  expect(switches.word).toMatchObject({ version: 1, refusedVersion: 2 });
  expect(policyVersion(table)).toBe(1);
});

test("one that loops are still compiling comes into force though a loop cannot have the next", async () => {
  const { table, switches, onRefused } = world();
  await switches.offer({ version: 1, bundle: bundleOf(1) });
  switches.ready(0, 1);
  await switches.offer({ version: 2, bundle: bundleOf(2) });
  switches.failed(0, 2, "no memory");
  expect(onRefused).toHaveBeenCalledTimes(1);
  expect(policyVersion(table)).toBe(0);
  switches.ready(1, 1);
  expect(policyVersion(table)).toBe(1);
  expect(switches.word).toMatchObject({ version: 1, refusedVersion: 2 });
});

test("an older one that is ready late comes not over a newer one, nor once loops may have dropped it", async () => {
  const { table, switches } = world();
  for (const version of [1, 2]) await switches.offer({ version, bundle: bundleOf(version) });
  for (const loop of [0, 1]) switches.ready(loop, 2);
  for (const loop of [0, 1]) switches.ready(loop, 1);
  expect(policyVersion(table)).toBe(2);
  for (const version of [3, 4, 5]) await switches.offer({ version, bundle: bundleOf(version) });
  for (const loop of [0, 1]) switches.ready(loop, 3);
  expect(policyVersion(table)).toBe(2);
  for (const loop of [0, 1]) switches.ready(loop, 4);
  expect(policyVersion(table)).toBe(4);
});
