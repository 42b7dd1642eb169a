import { systemClock } from "../../adapters/system-clock.ts";
import { twinStore } from "../../ports/twin-store.ts";
import { policy } from "../../test/support/builders.ts";
import { Actives } from "../harness/actives.ts";
import { Times } from "../harness/histogram.ts";
import { median } from "../harness/paired.ts";

const ACCOUNT = "agent/t1/a1";
const TURNS = 2_000;
const BATCHES = 15;

/**
 * A question to an actor and its answer, microseconds: mailbox, turn, lease, commit, money in the row.
 * Store and ledger are in memory and answer at once, so that what is left is ours.
 */
export async function mailboxCost(): Promise<number> {
  const actives = new Actives({ store: twinStore(), clock: systemClock, policy: policy() });
  await actives.activate([ACCOUNT], { activation: new Times(), firstLend: new Times() });
  const batches: number[] = [];
  while (batches.length < BATCHES) {
    const before = process.threadCpuUsage();
    for (let turn = 0; turn < TURNS; turn += 1) await actives.lendMore(ACCOUNT);
    const { user, system } = process.threadCpuUsage(before);
    batches.push((user + system) / TURNS);
  }
  await actives.host.drain();
  return median(batches);
}
