import { expect, test } from "vitest";
import { ledgerSettings } from "../../../coordinator/config.ts";
import { beginEpoch } from "../../../coordinator/epoch.ts";
import { ownLedger } from "../../../coordinator/ledger-door.ts";
import { exposureUsdMicros, ledgerView } from "../../../coordinator/ledger-view.ts";
import { NO_AMOUNTS } from "../../../coordinator/ledger-window.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { usdLimits } from "../node/actors/node-world.ts";

async function ledger() {
  const store = twinStore();
  const clock = twinClock();
  const door = ownLedger({
    replicaId: "c1",
    store,
    clock,
    random: twinRandom(1),
    tell: () => undefined,
    settings: ledgerSettings({ leaseTtlMs: 60_000, usdMicros: { min: 1, max: 1_000 } }),
    epoch: await beginEpoch(store),
    activeNodes: () => 1,
    isRemoved: () => false,
    mailboxMax: 100,
    onFenced: () => undefined,
  });
  door.setLimits(usdLimits(10_000, { a: 5_000, b: 5_000 }));
  const lease = async (account: string, node: string, micros: number) => {
    const amounts = { ...NO_AMOUNTS, usd_micros: micros };
    const ask = { node, bootId: "b", requestId: `${account}${micros}`, account };
    const answer = await door.lease({ ...ask, need: amounts, want: amounts });
    if ("refused" in answer) throw new Error(answer.message);
    return answer;
  };
  return { door, clock, lease };
}

test("shows of an account its rows, and the leases that it and those below it have out", async () => {
  const { door, clock, lease } = await ledger();
  await lease("agent/t/a", "n1", 700);
  await lease("agent/t/b", "n2", 300);
  const team = await ledgerView(door, "team/t");
  expect(team.accounts).toMatchObject([
    { limit: 10_000n, available: 9_000n, reserved: 0n, spent: 0n, children: 1_000n },
  ]);
  expect(team.leases).toMatchObject([
    { account: "agent/t/a", node: "n1", amount: { usdMicros: 700n }, expired: false },
    { account: "agent/t/b", node: "n2", deadlineMs: BigInt(clock.nowMs() + 60_000) },
  ]);
  expect((await ledgerView(door, "agent/t/b")).leases).toHaveLength(1);
  clock.advance(120_000);
  await ledgerView(door, "");
  expect((await ledgerView(door, "")).leases).toMatchObject([{ expired: true }, { expired: true }]);
});

test("the exposure is all that is charged to the overrun account", async () => {
  const { door, lease } = await ledger();
  expect(await exposureUsdMicros(door)).toBe(0);
  const { leaseId, epoch } = await lease("overrun", "n1", 900);
  expect(await exposureUsdMicros(door)).toBe(900);
  const spent = { ...NO_AMOUNTS, usd_micros: 250 };
  await door.settle({ node: "n1", leaseId, epoch, spent, final: true });
  expect(await exposureUsdMicros(door)).toBe(250);
});
