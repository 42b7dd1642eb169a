import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLmdbStore } from "../adapters/lmdb-store.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { contentScanner } from "../node/content-scanner.ts";
import { compilePolicy } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import { readPolicy } from "../policy/read-policy.ts";
import { knownAccount, writeKnown } from "./fixtures/known-agents.ts";
import { benchPolicy } from "./fixtures/policy.ts";
import { Actives } from "./harness/actives.ts";
import type { Bench } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { heapInUseMib, residentMib } from "./harness/memory.ts";
import { SlowTurns } from "./harness/slow-turns.ts";

const KNOWN = { full: 1_000_000, short: 50_000 };
const ACTIVE = { full: 10_000, short: 1_000 };
const WAVES = 5;
/** How long an activation may take. */
const LIMIT_MS = 2;
/** Any number without a factor of the count: a wave's agents lie all over the disk. */
const STRIDE = 611_953;

export const activation: Bench = {
  name: "activation",
  question:
    "What does it take to bring one of 1,000,000 known agents into memory, and is it let go?",
  run: async ({ isFull }) => {
    const known = isFull ? KNOWN.full : KNOWN.short;
    const active = isFull ? ACTIVE.full : ACTIVE.short;
    const folder = mkdtempSync(join(tmpdir(), "altrace-activation-"));
    try {
      await writeKnown(folder, known);
      const store = openLmdbStore(folder);
      const actives = new Actives({ store, clock: systemClock, policy: policy() });
      const recoverMs = await timed(() => actives.host.recover());
      const measured = await waves(actives, { known, active });
      await actives.host.drain();
      await store.close();
      return {
        load: `${known} known agents, ${WAVES} waves of ${active} active ones, 64 at once`,
        figures: [...measured, { name: "recover_ms", value: recoverMs, unit: "ms" }],
        notes: [
          "activation: from the word that a row serves the agent to its actor in memory, read from disk, " +
            "with its standing in the table. first_lend: from a request's need to money in the table, " +
            "its book flushed to disk before; the ledger answers at once. over_2_ms: activations that took longer, " +
            "by why: not_run, the thread was ready and the kernel ran something else; collecting, the collector's " +
            "pause fell into it; blocked, asleep in the kernel for a page of the store; own, on the processor for that long. left_mib: heap beyond the " +
            "first wave's once every later one was let go.",
        ],
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function waves(actives: Actives, of: { readonly known: number; readonly active: number }) {
  // The first of a process reads code that was never run; it is counted by itself.
  const first = { activation: new Times(), firstLend: new Times() };
  await actives.activate([knownAccount(0)], first);
  await actives.letGo();
  using slowTurns = new SlowTurns(LIMIT_MS);
  const times = { activation: new Times(), firstLend: new Times(), slowTurns };
  const idleMib = heapInUseMib();
  let activeMib = 0;
  let leftMib = 0;
  let afterFirstMib = 0;
  for (let wave = 0; wave < WAVES; wave += 1) {
    const accounts = Array.from({ length: of.active }, (_, no) =>
      knownAccount(((wave * of.active + no) * STRIDE) % of.known),
    );
    await actives.activate(accounts, times);
    if (wave === 0) activeMib = heapInUseMib() - idleMib;
    await actives.letGo();
    if (wave === 0) afterFirstMib = heapInUseMib();
    leftMib = heapInUseMib() - afterFirstMib;
  }
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  const count = (name: string, value: number) => ({ name, value, unit: "" });
  const { slow, notRun, collecting, blocked, own } = slowTurns.counts;
  return [
    count("activations", times.activation.count),
    count("over_2_ms", slow),
    count("over_2_ms_not_run", notRun),
    count("over_2_ms_collecting", collecting),
    count("over_2_ms_blocked", blocked),
    count("over_2_ms_own", own),
    ms("activation_p50_ms", times.activation.percentileMs(50)),
    ms("activation_p99_ms", times.activation.percentileMs(99)),
    ms("activation_max_ms", times.activation.maxMs),
    ms("very_first_ms", first.activation.maxMs),
    ms("first_lend_p50_ms", times.firstLend.percentileMs(50)),
    ms("first_lend_p99_ms", times.firstLend.percentileMs(99)),
    { name: "active_kib_per_agent", value: (activeMib * 1024) / of.active, unit: "KiB" },
    { name: "left_mib", value: Math.max(0, leftMib), unit: "MiB" },
    { name: "rss_mib", value: residentMib(), unit: "MiB" },
  ];
}

async function timed(deed: () => Promise<void>): Promise<number> {
  const startedNs = systemClock.monoNs();
  await deed();
  return Number(systemClock.monoNs() - startedNs) / 1e6;
}

function policy(): CompiledPolicy {
  const text = benchPolicy({ upstream: "http://127.0.0.1:1", crowd: 0 });
  const read = readPolicy(text, { file: "bench policy", scanner: contentScanner });
  if (!read.ok) throw new Error(JSON.stringify(read.findings));
  const compiled = compilePolicy(read.bundle, { version: 1, scanner: contentScanner });
  if (!compiled.ok) throw new Error("the bench's policy does not compile");
  return compiled.policy;
}
