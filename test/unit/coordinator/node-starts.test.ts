import { expect, test } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { LedgerState } from "../../../coordinator/ledger-state.ts";
import { uuidV7 } from "../../../ports/random.ts";
import { LedgerWorld, START_MS } from "./ledger-world.ts";

const BOT = "agent/pay/bot";
const LIMITS: AccountLimits = [
  {
    account: BOT,
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: 1_000 }],
  },
];

/** The id of a request that its node asked so long after the world began. */
function idAt(ms: number): string {
  return uuidV7(START_MS + ms, { bytes: (count) => new Uint8Array(count) });
}

const startsIn = ({ stored }: LedgerWorld) =>
  [...stored.keys()].filter((key) => /^ledger\/(start|forgotten)\//.test(key));

test("nothing is lent to a start once a later one has asked, by any later run of the ledger", () => {
  const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
  const ask = (bootId: string, requestId: string) =>
    world.lease(BOT, { usd_micros: 10 }, { bootId, requestId });
  const settled = world.granted(BOT, { usd_micros: 10 }, { requestId: idAt(1) });
  world.settle(settled, {}, { final: true });
  const open = world.granted(BOT, { usd_micros: 10 }, { requestId: idAt(2) });
  world.pass(60_000);
  expect(ask("b2", idAt(60_000))).toHaveProperty("leaseId");
  for (const isRestarted of [false, true]) {
    if (isRestarted) world.restart();
    expect(world.state.lease(settled.leaseId)).toBeUndefined();
    // What was granted and settled, and what nobody ever heard of.
    for (const id of [idAt(1), idAt(70_000)]) {
      expect(ask("b1", id)).toMatchObject({ refused: "boot_ended" });
    }
    // Of what is not settled the same lease is told, and nothing is charged for it.
    expect(ask("b1", idAt(2))).toMatchObject({ leaseId: open.leaseId });
  }
  expect(world.row(BOT, "usd_micros", "total")).toMatchObject({ reserved: 20 });
  expect(ask("b2", idAt(80_000))).toHaveProperty("leaseId");
});

test("what is forgotten of an ended start says nothing of the present one", () => {
  const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
  const ask = (bootId: string, requestId: string) =>
    world.lease(BOT, { usd_micros: 10 }, { bootId, requestId });
  // Of a clock that was ahead before the node's start.
  const late = idAt(3_600_000);
  const granted = world.granted(BOT, { usd_micros: 10 }, { requestId: late });
  expect(ask("b2", idAt(1))).toHaveProperty("leaseId");
  world.settle(granted, {}, { final: true });
  world.pass(60_000);
  world.ledger.roll(world.env());
  expect(world.state.lease(granted.leaseId)).toBeUndefined();
  expect(ask("b1", late)).toMatchObject({ refused: "boot_ended" });
  expect(ask("b2", idAt(60_000))).toHaveProperty("leaseId");
});

test("a start counts from its first question on, though it was refused", () => {
  const world = new LedgerWorld(LIMITS);
  world.granted(BOT, { usd_micros: 10 });
  expect(world.lease(BOT, { usd_micros: 9_999 }, { bootId: "b2" })).toMatchObject({
    refused: "budget_exhausted",
  });
  world.restart();
  expect(world.lease(BOT, { usd_micros: 10 })).toMatchObject({ refused: "boot_ended" });
});

test("a run that was not there lends to nothing that may have been refused before it", () => {
  const world = new LedgerWorld(LIMITS);
  const ask = (requestId: string, usd_micros: number) =>
    world.lease(BOT, { usd_micros }, { requestId });
  expect(ask(idAt(5), 9_999)).toMatchObject({ refused: "budget_exhausted" });
  const granted = ask(idAt(9), 10);
  expect(ask(idAt(8), 10)).toHaveProperty("leaseId");
  world.limits = [{ account: BOT, parent: undefined, limits: [] }];
  world.restart();
  expect(ask(idAt(5), 9_999)).toMatchObject({ refused: "request_forgotten" });
  expect(ask(idAt(9), 10)).toMatchObject({ leaseId: (granted as { leaseId: string }).leaseId });
  expect(ask(idAt(10), 9_999)).toHaveProperty("leaseId");
});

test("other nodes' starts are others", () => {
  const world = new LedgerWorld(LIMITS);
  world.granted(BOT, { usd_micros: 10 }, { bootId: "b2" });
  world.granted(BOT, { usd_micros: 10 }, { bootId: "b1", node: "n2" });
});

test("one entry is kept for each node, however often it starts, until it is removed", () => {
  const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
  for (const node of ["n1", "n2"]) {
    for (let boot = 1; boot < 9; boot += 1) {
      const grant = world.granted(BOT, { usd_micros: 1 }, { node, bootId: `b${boot}` });
      world.settle(grant, {}, { node, final: true });
    }
  }
  world.flush();
  expect(startsIn(world)).toEqual(["ledger/start/n1", "ledger/start/n2"]);
  world.removed.add("n1");
  // Its leases are forgotten, then it is.
  for (let minute = 0; minute < 3; minute += 1) {
    world.pass(60_000);
    world.ledger.roll(world.env());
  }
  world.flush();
  expect(startsIn(world)).toEqual(["ledger/start/n2"]);
});

test("what an earlier version stored counts, and is written anew", () => {
  const world = new LedgerWorld(LIMITS);
  const former = { bootId: "b2", askedMs: START_MS + 5, grantedMs: START_MS };
  const entry = ["ledger/forgotten/n1", Buffer.from(JSON.stringify(former))] as const;
  world.stored.set(...entry);
  world.state = LedgerState.load([entry], 0);
  world.restart();
  const ask = (bootId: string, requestId: string) =>
    world.lease(BOT, { usd_micros: 10 }, { bootId, requestId });
  expect(ask("b1", idAt(9))).toMatchObject({ refused: "boot_ended" });
  expect(ask("b2", idAt(5))).toMatchObject({ refused: "request_forgotten" });
  expect(ask("b2", idAt(6))).toHaveProperty("leaseId");
  world.flush();
  expect(startsIn(world)).toEqual(["ledger/start/n1"]);
});
