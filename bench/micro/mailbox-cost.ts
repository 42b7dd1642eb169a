import { systemClock } from "../../adapters/system-clock.ts";
import { twinStore } from "../../ports/twin-store.ts";
import { policy } from "../../test/support/builders.ts";
import { Actives } from "../harness/actives.ts";
import { Times } from "../harness/histogram.ts";
import { batchNs, besideHash, type CostBeside, hashOf1KiB } from "./cost-of.ts";

const ACCOUNT = "agent/t1/a1";
/** Kernels tell a thread's time in steps of up to 4 ms: a batch is many of them. */
const TURNS = 40_000;
const BATCHES = 9;
/** As long as the turns of a batch, or so. */
const HASHES = 60_000;

/**
 * A question to an actor and its answer, microseconds: mailbox, turn, lease, commit, money in the row.
 * Store and ledger are in memory and answer at once, so that what is left is ours.
 */
export async function mailboxCost(): Promise<CostBeside> {
  const actives = new Actives({ store: twinStore(), clock: systemClock, policy: policy() });
  await actives.activate([ACCOUNT], { activation: new Times(), firstLend: new Times() });
  const batches: number[] = [];
  const hashes: number[] = [];
  while (batches.length < BATCHES) {
    const before = process.threadCpuUsage();
    for (let turn = 0; turn < TURNS; turn += 1) await actives.lendMore(ACCOUNT);
    const { user, system } = process.threadCpuUsage(before);
    batches.push((user + system) / TURNS);
    hashes.push(batchNs(hashOf1KiB, HASHES) / HASHES / 1_000);
  }
  await actives.host.drain();
  return besideHash(batches, hashes);
}
