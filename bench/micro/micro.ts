import { encodeFrame } from "../../audit/frame.ts";
import { encodeLeaf } from "../../audit/leaf.ts";
import { ledgerSettings } from "../../coordinator/config.ts";
import type { ContractAccount } from "../../coordinator/contract-account.ts";
import { Ledger } from "../../coordinator/ledger.ts";
import { CONTRACTS_MAX } from "../../coordinator/ledger-contracts.ts";
import { LedgerState } from "../../coordinator/ledger-state.ts";
import { NO_AMOUNTS } from "../../coordinator/ledger-window.ts";
import { RATE_METRICS } from "../../mesh/rate-share.ts";
import { decide } from "../../node/decision/decide.ts";
import { decisionRecord } from "../../node/decision/decision-record.ts";
import type { Facts } from "../../node/decision/facts.ts";
import { schemeOf } from "../../node/decision/stages/11-classification.ts";
import { lend, lendOverrun } from "../../node/table/lend.ts";
import { release, reserve } from "../../node/table/reserve.ts";
import { createRowOwner } from "../../node/table/rows.ts";
import { createTable } from "../../node/table/table.ts";
import { canonicalJson } from "../../proto/jcs.ts";
import { facts, grant, policy } from "../../test/support/builders.ts";
import { AUTHORITY } from "../../test/support/contract-forge.ts";
import type { Bench, Budget, Figure } from "../harness/bench.ts";
import { judgePairs } from "../harness/paired.ts";
import { type CostBeside, costBeside } from "./cost-of.ts";
import { latticeCost } from "./lattice-cost.ts";
import { appendCost } from "./log-cost.ts";
import { mailboxCost } from "./mailbox-cost.ts";
import { relayCost } from "./stream-cost.ts";
import { scanCosts } from "./text-cost.ts";

const CONTEXT = {
  mesh: "bench",
  node: "node-1",
  trustVersion: 1,
  clientRequestId: undefined,
  nowMs: 1_790_000_000_000,
  latencyUs: 120,
};

export const micro: Bench = {
  name: "micro",
  question: "What do the parts cost that every request passes, one by one, on one thread?",
  run: async (_options, budget) => {
    const scan = scanCosts();
    const costs: Readonly<Record<string, CostBeside>> = {
      decide: decideCost(),
      reserve: reserveCost(),
      hold: holdCost(),
      hold_team: holdCost({ shared: true }),
      leaf: leafCost(),
      scan_kb: scan.clean,
      scan_dirty_kb: scan.dirty,
      scan_hostile_kb: scan.hostile,
      jcs: jcsCost(),
      lattice: latticeCost(),
      merkle_append: appendCost(),
      sse_relay_delta: relayCost(),
      mailbox: await mailboxCost(),
      ledger_roll: rollCost(),
    };
    return {
      load: "each part alone, warm, processor time of its thread, 9 batches of 100 ms in turn with SHA-256 of 1 KiB",
      figures: Object.entries(costs).flatMap(([name, cost]) => figuresOf(name, cost, budget)),
      notes: [
        "_us: median, least and most of the batches. _of_hash: the same over SHA-256 of 1 KiB, which a machine that is " +
          "slower takes longer for as well.",
        "decide: all 14 rows of an allowed request. reserve: with its release, three units and the " +
          "overrun. hold: both, for a request with three rate buckets, under a contract two deep. hold_team: where its team has those rates, with six. leaf: one decision record to a frame. scan_kb: a KiB of clean text through all detectors. " +
          "scan_dirty_kb: with a card number, a key and an address in each sentence. scan_hostile_kb: the worst of " +
          "texts that begin many matches and end none. jcs: the same record as canonical JSON.",
        "lattice: is a contract strictly less than another, and what have they in common (what one costs to " +
          "verify: the bench contracts). merkle_append: a hash of 500 bytes, and the tree. " +
          "sse_relay_delta: read, judged, scanned, metered and written, to a client that only writes down. " +
          "mailbox: an actor's whole turn, for money, with store and ledger in memory. ledger_roll: what the " +
          "ledger does four times a second beside what falls due, with 10,000 open leases and 20,000 contracts.",
      ],
    };
  },
};

/** What it costs in hashes is judged; in microseconds it is this machine's. */
function figuresOf(name: string, { us, pairs }: CostBeside, budget: Budget): readonly Figure[] {
  const verdict = judgePairs(pairs, budget[`${name}_of_hash`]?.must ?? Number.NaN);
  return [
    { name: `${name}_us`, value: us.median, unit: "us", range: us },
    { name: `${name}_of_hash`, value: verdict.median, unit: "x", pairs: verdict },
  ];
}

function decideCost(): CostBeside {
  const allowed = facts();
  if (decide(allowed).refusal !== undefined) throw new Error("the sample is not allowed");
  return costBeside(() => decide(allowed).stages);
}

/** Decides, and takes what was decided from the row: all that stands between a request and its record. */
function holdCost(of: { readonly shared?: true } = {}): CostBeside {
  const limit = { amount: 1_000_000, windowMs: 1_000, burst: 1_000_000, ...of };
  const rate = RATE_METRICS.map((metric) => ({ metric, ...limit }));
  const allowed = underContract(facts({ grant: grant({ rate }) }));
  const { refusal: objection } = decide(allowed);
  if (objection !== undefined) throw new Error(`the sample is refused: ${objection.reason}`);
  const { table, row } = fullRow();
  return costBeside(() => {
    const { refusal, charges } = decide(allowed);
    const reserved = reserve(table, row, charges, 1_000_000_000n);
    if (refusal !== undefined || !("taken" in reserved)) throw new Error("the sample is refused");
    release(table, row, { taken: reserved.taken, charges });
    return reserved.taken.calls;
  });
}

/** The same request by the holder of a contract that was delegated once: its chain has two links. */
function underContract(of: Facts): Facts {
  const ids = ["01998f3e-7c1a-7b2c-9d3e-5f6071829301", "01998f3e-7c1a-7b2c-9d3e-5f6071829302"];
  const nowS = of.nowMs / 1_000;
  const ample = { burst: 1_000_000, amount: 1_000_000, seconds: 1 };
  const rate = { req: ample, tok: ample, usd_u: ample };
  const { hours } = AUTHORITY.validity;
  const geography = { egr: ["DE", "US"], proc: ["DE", "US"], src: ["DE"] };
  const validity = { notBefore: nowS - 60, expires: nowS + 3_600, hours };
  const scheme = schemeOf(policy().classification);
  const dataClass = { ...AUTHORITY.dataClass, scheme };
  const effective = { ...AUTHORITY, rate, validity, geography, dataClass };
  return {
    ...of,
    identity: { agentId: "research/worker-1", keyId: "k1234567", contractId: ids[1] },
    contract: { ids, effective, rate, depthLeft: 3 },
  };
}

function reserveCost(): CostBeside {
  const { table, row } = fullRow();
  const charges = {
    cost: { usdMicros: 5_000n, tokens: 1_000n, calls: 1n },
    overrunMicros: 500n,
    buckets: [],
  };
  return costBeside(() => {
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

function leafCost(): CostBeside {
  const allowed = facts();
  const verdict = decide(allowed);
  return costBeside(
    () => encodeFrame(encodeLeaf(decisionRecord(allowed, verdict, CONTEXT))).length,
  );
}

function jcsCost(): CostBeside {
  const allowed = facts();
  const record = decisionRecord(allowed, decide(allowed), CONTEXT);
  return costBeside(() => canonicalJson(record).length);
}

const ROLL_LEASES = 10_000;
const ROLL_EVERY_MS = 250;

function rollCost(): CostBeside {
  const nowMs = CONTEXT.nowMs;
  // Nothing falls due while this is measured.
  const settings = ledgerSettings({ leaseTtlMs: 2 ** 40, usdMicros: { min: 1, max: 1_000 } });
  const ledger = new Ledger({ ...settings, leasesMax: ROLL_LEASES }, LedgerState.load([], 0));
  ledger.setLimits([{ account: "agent/t/a", parent: undefined, limits: [] }]);
  let monoMs = 0;
  const env = () => ({
    nowMs,
    monoMs,
    epoch: 1,
    activeNodes: 3,
    isFull: false,
    isRemoved: () => false,
  });
  ledger.roll(env());
  for (let no = 0; no < ROLL_LEASES; no++) {
    const ids = { requestId: `r${no}`, leaseId: `l${no}`, bootId: "b1", node: "n1" };
    ledger.lease({ ...ids, account: "agent/t/a", need: NO_AMOUNTS, want: NO_AMOUNTS }, env());
  }
  for (let no = 0; no < CONTRACTS_MAX; no++) ledger.contracts.open(contractOf(no, nowMs));
  return costBeside(() => {
    monoMs += ROLL_EVERY_MS;
    ledger.roll(env());
    return monoMs;
  });
}

function contractOf(no: number, nowMs: number): ContractAccount {
  return {
    id: `c${no}`,
    parent: "",
    agent: "t/a",
    node: "n1",
    depth: 0,
    keySha256: "",
    chain: "",
    limit: NO_AMOUNTS,
    rate: AUTHORITY.rate,
    expiresMs: nowMs + 3_600_000,
    state: "open",
  };
}
