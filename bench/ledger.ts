import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { openLmdbStore } from "../adapters/lmdb-store.ts";
import { systemClock } from "../adapters/system-clock.ts";
import type { AccountLimits } from "../coordinator/account-limits.ts";
import { ledgerSettings } from "../coordinator/config.ts";
import { beginEpoch } from "../coordinator/epoch.ts";
import { Ledger } from "../coordinator/ledger.ts";
import { LedgerActor } from "../coordinator/ledger-actor.ts";
import { LedgerState } from "../coordinator/ledger-state.ts";
import { NO_AMOUNTS } from "../coordinator/ledger-window.ts";
import { uuidV7 } from "../ports/random.ts";
import type { Bench } from "./harness/bench.ts";
import { heapInUseMib } from "./harness/memory.ts";

const TEAMS = 100;
const AGENTS = 10_000;
/** Questions under way at once, as some nodes with many agents have them. */
const IN_FLIGHT = 512;
const SECONDS = 4;
const REMEMBERED = 50_000;
const LIMIT_USD_MICROS = 1_000_000_000_000;

export const ledger: Bench = {
  name: "ledger",
  question: "How many leases a second does one ledger grant, each on disk before it is told?",
  run: async ({ durationMs = SECONDS * 1_000 }) => {
    const folder = mkdtempSync(join(tmpdir(), "altrace-ledger-"));
    const store = openLmdbStore(folder);
    let commits = 0;
    const counted = {
      get: store.get.bind(store),
      list: store.list.bind(store),
      commit: (...args: Parameters<typeof store.commit>) => {
        commits += 1;
        return store.commit(...args);
      },
    };
    const actor = new LedgerActor({
      store: counted,
      clock: systemClock,
      random: cryptoRandom,
      tell: () => undefined,
      settings: ledgerSettings({ leaseTtlMs: 60_000, usdMicros: { min: 1, max: 1_000 } }),
      epoch: await beginEpoch(store),
      activeNodes: () => 3,
      isRemoved: () => false,
      mailboxMax: 2 * IN_FLIGHT,
      onFenced: () => undefined,
    });
    actor.setLimits(limits());
    try {
      await grantFor(actor, Math.min(500, durationMs));
      commits = 0;
      const startedNs = process.hrtime.bigint();
      const cpuBefore = process.cpuUsage();
      const grants = await grantFor(actor, durationMs);
      const tookUs = Number(process.hrtime.bigint() - startedNs) / 1_000;
      const { user, system } = process.cpuUsage(cpuBefore);
      const perSecond = Math.round((grants / tookUs) * 1e6);
      return {
        load: `${AGENTS} agents of ${TEAMS} teams, ${IN_FLIGHT} questions under way`,
        figures: [
          { name: "grant_cpu_us", value: (user + system) / grants, unit: "us" },
          { name: "settled_lease_bytes", value: settledLeaseBytes(), unit: "bytes" },
        ],
        notes: [
          `${perSecond} grants/s; ${grants} grants in ${commits} commits, each an fdatasync of LMDB.`,
          "grant: one lease, charged to an agent and its team in two limited windows each; " +
            "processor time of all threads, so that it can be told on a busy machine too.",
          `settled lease: what one of ${REMEMBERED} that are remembered takes of the heap, right after they were settled.`,
        ],
      };
    } finally {
      await actor.stop();
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Of as many as a crowded ledger remembers, with all that finds them again. */
function settledLeaseBytes(): number {
  const nowMs = systemClock.nowMs();
  const settings = ledgerSettings({ leaseTtlMs: 300_000, usdMicros: { min: 1, max: 1_000 } });
  const state = LedgerState.load([], 0);
  const ledger = new Ledger(settings, state);
  ledger.setLimits(limits());
  const env = { nowMs, monoMs: 0, epoch: 1, activeNodes: 3, isFull: false, isRemoved: () => false };
  const amounts = { ...NO_AMOUNTS, usd_micros: 500 };
  const lendAndSettle = (no: number): void => {
    const account = accountOf(no % AGENTS);
    const [requestId, leaseId] = [0, 1].map(() => uuidV7(nowMs, cryptoRandom)) as [string, string];
    const of = { node: "n1", bootId: "b1", requestId, leaseId, account };
    const lease = ledger.lease({ ...of, need: amounts, want: amounts }, env);
    if ("refused" in lease) throw new Error(lease.message);
    ledger.settle({ node: "n1", leaseId, epoch: 1, spent: amounts, final: true }, env);
  };
  // Accounts have their rows before it is measured.
  for (let no = 0; no < AGENTS; no += 1) lendAndSettle(no);
  state.takeWrites();
  const before = heapInUseMib();
  for (let no = 0; no < REMEMBERED; no += 1) lendAndSettle(no);
  state.takeWrites();
  return ((heapInUseMib() - before) * 2 ** 20) / REMEMBERED;
}

/** Borrows in a closed loop; returns how many were granted. */
async function grantFor(actor: LedgerActor, durationMs: number): Promise<number> {
  const endNs = process.hrtime.bigint() + BigInt(durationMs) * 1_000_000n;
  let grants = 0;
  let next = 0;
  const work = async () => {
    while (process.hrtime.bigint() < endNs) {
      next = (next + 1) % AGENTS;
      const amounts = { ...NO_AMOUNTS, usd_micros: 500 };
      const lease = await actor.lease({
        node: "n1",
        bootId: "b1",
        requestId: uuidV7(systemClock.nowMs(), cryptoRandom),
        account: accountOf(next),
        need: amounts,
        want: amounts,
      });
      if ("refused" in lease) throw new Error(lease.message);
      grants += 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return grants;
}

function accountOf(no: number): string {
  return `agent/t${no % TEAMS}/a${no}`;
}

function limits(): AccountLimits {
  const of = (window: "total" | "day") => ({
    unit: "usd_micros" as const,
    window,
    limit: LIMIT_USD_MICROS,
  });
  const both = [of("total"), of("day")];
  const teams = Array.from({ length: TEAMS }, (_, no) => ({
    account: `team/t${no}`,
    parent: undefined,
    limits: both,
  }));
  const agents = Array.from({ length: AGENTS }, (_, no) => ({
    account: accountOf(no),
    parent: `team/t${no % TEAMS}`,
    limits: both,
  }));
  return [...teams, ...agents];
}
