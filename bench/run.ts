// Measures: `npm run bench` (all, a short look), `npm run bench -- <name> [--duration S] [--minutes N]
// [--nodes N,N] [--records N] [--full] [--json] [--record]`. Ends with 1 when a figure is over its limit in budgets.json.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { activation } from "./activation.ts";
import { auditIndex } from "./audit-index.ts";
import { auditLog } from "./audit-log.ts";
import { capture } from "./capture.ts";
import { chunkDelay } from "./chunk-delay.ts";
import { fanout } from "./fan-out.ts";
import { resync } from "./fan-out-resync.ts";
import { gatewayJson, gatewaySse } from "./gateway-cost.ts";
import { growth } from "./growth.ts";
import type { Bench, BenchOptions, Budget } from "./harness/bench.ts";
import { breaches, budgetOf } from "./harness/budgets.ts";
import { describeMachine } from "./harness/machine.ts";
import { describeMeanwhile, MachineMeanwhile } from "./harness/machine-meanwhile.ts";
import { tellProgress } from "./harness/progress.ts";
import { describeResult, recordResult } from "./harness/results.ts";
import { inspectPool } from "./inspect-pool.ts";
import { k6Outside } from "./k6-outside.ts";
import { kernel } from "./kernel.ts";
import { killBlock } from "./kill-block.ts";
import { ledger } from "./ledger.ts";
import { memory } from "./memory.ts";
import { contracts } from "./micro/contracts.ts";
import { micro } from "./micro/micro.ts";
import { overrun } from "./overrun.ts";
import { peers } from "./peers.ts";
import { profileJson, profileSse } from "./profile.ts";
import { profileActivation } from "./profile-activation.ts";
import { refuse } from "./refuse.ts";
import { replace } from "./replace.ts";
import { soak } from "./soak.ts";
import { teardown } from "./teardown.ts";
import { tunnels } from "./tunnels.ts";
import { violations } from "./violations.ts";

const BENCHES: readonly Bench[] = [
  killBlock,
  fanout,
  resync,
  teardown,
  tunnels,
  gatewayJson,
  gatewaySse,
  chunkDelay,
  peers,
  growth,
  refuse,
  overrun,
  ledger,
  activation,
  memory,
  micro,
  contracts,
  inspectPool,
  auditLog,
  auditIndex,
  violations,
  soak,
  profileJson,
  profileSse,
  profileActivation,
  kernel,
  capture,
  replace,
  k6Outside,
];

/** Light nodes that one machine carries. */
const NODES_MAX = 4_000;
/** Records of a log: as many as one holds before it is ended. */
const RECORDS_MAX = 2 ** 30;

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    duration: { type: "string" },
    minutes: { type: "string" },
    nodes: { type: "string" },
    records: { type: "string" },
    full: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});

// So that ends are orderly, and what was started is ended too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const known = BENCHES.map(({ name }) => name);
const unknown = names.filter((name) => !known.includes(name));
const seconds = secondsOf(flags);
const nodes = flags.nodes?.split(",").map(Number);
const isSize = (size: number) => Number.isInteger(size) && size > 0 && size <= NODES_MAX;
const records = flags.records === undefined ? undefined : Number(flags.records);
const isCount = (count: number) => Number.isInteger(count) && count > 0 && count <= RECORDS_MAX;
const areFlagsRead =
  (seconds === undefined || seconds > 0) &&
  (nodes ?? []).every(isSize) &&
  (records === undefined || isCount(records));
if (unknown.length > 0 || !areFlagsRead) {
  const options =
    "[--duration S | --minutes N] [--nodes N,N] [--records N] [--full] [--json] [--record]";
  console.error(`usage: npm run bench -- [${known.join(" | ")}] ${options}`);
  process.exit(2);
}

const wanted = BENCHES.filter(({ name }) => names.length === 0 || names.includes(name));
const [only] = wanted;
process.exitCode = wanted.length === 1 && only ? await runOne(only) : await runEach(wanted);

/** Each in a process of its own: a generator has yielded its priority and warmed up for one thing. */
async function runEach(benches: readonly Bench[]): Promise<number> {
  const ends: string[] = [];
  for (const [i, { name }] of benches.entries()) {
    tellProgress(`${name}, ${i + 1} of ${benches.length}`);
    const args = [import.meta.filename, name, ...process.argv.slice(2).filter(isFlag)];
    const started = spawn(process.execPath, args, { stdio: "inherit" });
    const [code] = (await once(started, "exit")) as [number | null];
    if (code !== 0) ends.push(name);
  }
  const over = ends.length === 0 ? "none" : ends.join(", ");
  tellProgress(`${benches.length} benches; over a limit or not measured: ${over}`);
  return ends.length === 0 ? 0 : 1;
}

function isFlag(word: string, i: number, words: readonly string[]): boolean {
  return (
    word.startsWith("--") ||
    ["--duration", "--minutes", "--nodes", "--records"].includes(words[i - 1] ?? "")
  );
}

/** NaN for what is no number, and for both at once. */
function secondsOf(of: { readonly duration?: string; readonly minutes?: string }) {
  if (of.duration !== undefined && of.minutes !== undefined) return Number.NaN;
  if (of.minutes !== undefined) return Number(of.minutes) * 60;
  return of.duration === undefined ? undefined : Number(of.duration);
}

async function runOne(bench: Bench): Promise<number> {
  const machine = describeMachine();
  const budget = budgetOf(bench.name);
  const durationMs = seconds === undefined ? undefined : seconds * 1_000;
  // What is recorded is measured in full.
  const isFull = flags.full || flags.record;
  if (!flags.json) console.log(`${bench.name}: ${bench.question}`);
  const { result, samples } = await runBeside(bench, budget, {
    durationMs,
    isFull,
    nodes,
    records,
    isRecorded: flags.record,
  });
  const over = breaches(result, budget);
  const meanwhile = describeMeanwhile(samples);
  if (flags.json) {
    const of = { bench: bench.name, machine, ...result, budget, breaches: over, meanwhile };
    console.log(JSON.stringify(of));
  } else {
    for (const line of describeResult(result, budget)) console.log(line);
    console.log(`  the machine meanwhile: ${meanwhile}`);
    for (const { figure, value, must } of over) {
      console.log(`  BREACH: ${figure} is ${value}, and must be at most ${must}`);
    }
  }
  const words = process.argv.slice(2);
  if (flags.record) recordResult(bench, { result, machine, words, meanwhile });
  return over.length === 0 ? 0 : 1;
}

/** The bench, and beside it what the machine takes for what nothing of ours is in. */
async function runBeside(bench: Bench, budget: Budget, options: BenchOptions) {
  using machine = await MachineMeanwhile.start();
  try {
    const result = await bench.run(options, budget);
    return { result, samples: await machine.end() };
  } catch (error) {
    // A disk that stood still for a second may be why.
    tellProgress(`failed; the machine meanwhile: ${describeMeanwhile(await machine.end())}`);
    throw error;
  }
}
