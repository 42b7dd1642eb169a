import { encodeFrame } from "../../audit/frame.ts";
import { encodeLeaf } from "../../audit/leaf.ts";
import { compileRules } from "../../node/dataplane/scan/compile-rules.ts";
import { DETECTORS } from "../../node/dataplane/scan/detectors.ts";
import { createScanner } from "../../node/dataplane/scan/scan-stream.ts";
import { decide } from "../../node/decision/decide.ts";
import { decisionRecord } from "../../node/decision/decision-record.ts";
import { lend, lendOverrun } from "../../node/table/lend.ts";
import { release, reserve } from "../../node/table/reserve.ts";
import { createRowOwner } from "../../node/table/rows.ts";
import { createTable } from "../../node/table/table.ts";
import { canonicalJson } from "../../proto/jcs.ts";
import { facts, grant } from "../../test/support/builders.ts";
import type { Bench } from "../harness/bench.ts";
import { costOf } from "./cost-of.ts";

const CONTEXT = {
  mesh: "bench",
  node: "node-1",
  trustVersion: 1,
  clientRequestId: undefined,
  nowMs: 1_790_000_000_000,
  latencyUs: 120,
};
const TEXT_BYTES = 16_384;

export const micro: Bench = {
  name: "micro",
  question: "What do the parts cost that every request passes, one by one, on one thread?",
  run: async () => {
    const us = (name: string, value: number) => ({ name, value, unit: "us" });
    return {
      load: "each part alone, warm, median of 15 batches of 20 ms",
      figures: [
        us("decide_us", decideCost()),
        us("reserve_us", reserveCost()),
        us("hold_us", holdCost()),
        us("leaf_us", leafCost()),
        us("scan_us_per_kb", scanCost()),
        us("jcs_us", jcsCost()),
      ],
      notes: [
        "decide: all 14 rows of an allowed request. reserve: with its release, three units and the " +
          "overrun. hold: both, for a request with two rate buckets, under a contract. leaf: one decision record to a frame. scan: clean text through all detectors. " +
          "jcs: the same record as canonical JSON.",
      ],
    };
  },
};

function decideCost(): number {
  const allowed = facts();
  if (decide(allowed).refusal !== undefined) throw new Error("the sample is not allowed");
  return costOf(() => decide(allowed).stages);
}

/** Decides, and takes what was decided from the row: all that stands between a request and its record. */
function holdCost(): number {
  const limit = { amount: 1_000_000, windowMs: 1_000, burst: 1_000_000 };
  const rate = [
    { metric: "requests" as const, ...limit },
    { metric: "tokens" as const, ...limit },
  ];
  const allowed = facts({ grant: grant({ rate }) });
  const { table, row } = fullRow();
  return costOf(() => {
    const { refusal, charges } = decide(allowed);
    const reserved = reserve(table, row, charges, 1_000_000_000n);
    if (refusal !== undefined || !("taken" in reserved)) throw new Error("the sample is refused");
    release(table, row, { taken: reserved.taken, charges });
    return reserved.taken.calls;
  });
}

function reserveCost(): number {
  const { table, row } = fullRow();
  const charges = {
    cost: { usdMicros: 5_000n, tokens: 1_000n, calls: 1n },
    overrunMicros: 500n,
    buckets: [],
  };
  return costOf(() => {
    const reserved = reserve(table, row, charges, 1_000_000_000n);
    if (!("taken" in reserved)) throw new Error("the sample does not fit");
    release(table, row, { taken: reserved.taken, charges });
    return reserved.taken.calls;
  });
}

function fullRow() {
  const table = createTable({ rows: 16, loops: 1, scopes: 8, writers: 1 });
  const row = createRowOwner(table).allot({ team: 1, agent: 2, contract: 3 })?.row;
  if (row === undefined) throw new Error("no row");
  lend(table, row, { usdMicros: 10n ** 12n, tokens: 10n ** 12n, calls: 10n ** 12n });
  lendOverrun(table, 10n ** 12n);
  return { table, row };
}

function leafCost(): number {
  const allowed = facts();
  const verdict = decide(allowed);
  return costOf(() => encodeFrame(encodeLeaf(decisionRecord(allowed, verdict, CONTEXT))).length);
}

function scanCost(): number {
  const compiled = compileRules(DETECTORS, { purpose: "body" });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.errors));
  const words = "The quick brown fox jumps over the lazy dog, and nobody minds it at all. ";
  const bytes = Buffer.from(words.repeat(Math.ceil(TEXT_BYTES / words.length))).subarray(
    0,
    TEXT_BYTES,
  );
  const cost = costOf(() => {
    const scanner = createScanner(compiled.set);
    const hits = scanner.push(bytes).length + scanner.end().length;
    if (hits > 0) throw new Error("the sample is not clean");
    return scanner.steps;
  });
  return cost / (TEXT_BYTES / 1_024);
}

function jcsCost(): number {
  const allowed = facts();
  const record = decisionRecord(allowed, decide(allowed), CONTEXT);
  return costOf(() => canonicalJson(record).length);
}
