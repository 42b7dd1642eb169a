import { expect, test } from "vitest";
import { nodeView } from "../../../node/node-view-of.ts";
import { createTable, setOpenUntilNs } from "../../../node/table/table.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

/** A node that allows requests, but for what a test changes of it. */
function world() {
  const clock = twinClock();
  const table = createTable({ rows: 1, loops: 1, scopes: 1, writers: 1, proofs: 64 });
  setOpenUntilNs(table, clock.monoNs() + 1_000_000_000n);
  const state = {
    mesh: [] as string[],
    policy: {} as object | undefined,
    money: true,
    bar: undefined as string | undefined,
    inspection: { isAnswered: true } as { isAnswered: boolean } | undefined,
    writable: true,
  };
  const view = nodeView({
    parts: { config: {}, clock, version: "0" },
    control: {
      actors: { accounts: { follow: () => undefined } },
      policies: {
        get current() {
          return state.policy;
        },
      },
      ledgerWay: {
        get isOpen() {
          return state.money;
        },
      },
      ledgerBar: () => state.bar && { reason: state.bar, message: "" },
      get inspection() {
        return state.inspection;
      },
    },
    mesh: { status: async () => ({ closedBecause: state.mesh }) },
    audit: { isWritable: () => state.writable },
    table,
  } as unknown as Parameters<typeof nodeView>[0]);
  return { clock, state, because: () => view.closedBecause() };
}

test("a node allows requests once nothing is missing", async () => {
  const { state, because } = world();
  expect(await because()).toEqual([]);
  state.inspection = undefined;
  expect(await because()).toEqual([]);
});

test("what it lacks is named, each by its reason", async () => {
  const { clock, state, because } = world();
  state.money = false;
  state.inspection = { isAnswered: false };
  state.writable = false;
  expect(await because()).toEqual(["budget_unavailable", "not_inspectable", "audit_unavailable"]);
  // Of money and certificates nothing can be known before there is a policy.
  state.policy = undefined;
  state.mesh = ["not_enrolled"];
  clock.advance(2_000);
  expect(await because()).toEqual(["not_enrolled", "policy_missing", "audit_unavailable"]);
  state.mesh = [];
  expect(await because()).toEqual(["mesh_stale", "policy_missing", "audit_unavailable"]);
});

test("a start of the node that another has ended says so; a wrong clock stops some agents alone", async () => {
  const { state, because } = world();
  state.bar = "boot_ended";
  expect(await because()).toEqual(["boot_ended"]);
  state.bar = "clock_off";
  expect(await because()).toEqual([]);
});
