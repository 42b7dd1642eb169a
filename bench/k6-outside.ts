import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FarWeb } from "./fixtures/far-web.ts";
import { ADVERSARY, benchPolicy } from "./fixtures/policy.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { tellProgress } from "./harness/progress.ts";
import { issueRoot } from "./harness/root-contract.ts";
import { cleanEnv } from "./harness/start-altrace.ts";
import { K6_SCRIPTS, type K6Script } from "./k6-scripts.ts";

const K6 = join(import.meta.dirname, "..", ".tools", "bin", "k6");
const SCOPE = `agent/${TARGET}`;
const SECONDS = { full: 30, short: 4 };
const STREAMS = { full: 100, short: 20 };
const PER_SECOND = { full: 100, short: 50 };
const ADVERSARY_USD = "0.05";
/** How many scripts found what must not be. */
const CROSSINGS = "scripts_with_thresholds_crossed";
/** Exit code of a k6 whose thresholds were crossed. */
const CROSSED = 99;
/** Beyond the load itself: start, and streams that were still open. */
const SPARE_MS = 90_000;

/**
 * Its times are told and never gated: below 5 ms what k6 sees is mostly k6. What its scripts count is
 * gated by their own thresholds.
 */
export const k6Outside: Bench = {
  name: "k6",
  question: "What does a node look like to k6, which knows nothing of Altrace?",
  run: async ({ isFull, durationMs }) => {
    if (!existsSync(K6)) {
      const why = "no k6; `npm run tools` brings it";
      return { load: "none", figures: [], skipped: new Map([[CROSSINGS, why]]), notes: [] };
    }
    const size = isFull ? "full" : "short";
    const seconds = durationMs === undefined ? SECONDS[size] : Math.ceil(durationMs / 1_000);
    const load = { seconds, streams: STREAMS[size], perSecond: PER_SECOND[size] };
    await using far = await FarWeb.start();
    await using mesh = await startMesh({ tunnelsTo: far.target, env: { ALTRACE_REGION: "DE" } });
    const { operator, upstream } = mesh;
    const policy = { upstream: upstream.url, crowd: 0, tunnelsTo: far.target };
    await operator.applyPolicy(benchPolicy({ ...policy, adversaryUsd: ADVERSARY_USD }));
    const keys = {
      ...mesh.keys,
      adversary: await operator.issueKey(ADVERSARY),
      contract: await issueRoot(mesh),
    };
    const told: Figure[] = [];
    const crossed: string[] = [];
    for (const script of K6_SCRIPTS) {
      tellProgress(`k6: ${script.name}`);
      const run = await runScript(script, { mesh, keys, load, far: `https://${far.target}` });
      told.push(...figuresOf(script, run.summary));
      if (run.isCrossed) crossed.push(script.name);
    }
    return {
      load: `${seconds} s each; ${load.streams} open at once, ${load.perSecond} requests/s where the rate is steady`,
      figures: [{ name: CROSSINGS, value: crossed.length, unit: "" }, ...told],
      notes: [
        `${versionOf(K6)}. Thresholds of the scripts: ${crossed.length === 0 ? "none crossed" : `CROSSED in ${crossed.join(", ")}`}.`,
      ],
    };
  },
};

/** As it says it: `k6 v2.1.0 (...)`. */
function versionOf(program: string): string {
  return execFileSync(program, ["version"], { encoding: "utf8" }).split("\n")[0] as string;
}

type Run = { readonly summary: Summary; readonly isCrossed: boolean };

async function runScript(
  script: K6Script,
  of: {
    readonly mesh: MeshUnderTest;
    readonly keys: Readonly<Record<K6Script["asks"] | "neighbour", string>>;
    readonly load: {
      readonly seconds: number;
      readonly streams: number;
      readonly perSecond: number;
    };
    readonly far: string;
  },
): Promise<Run> {
  const { mesh, keys, load, far } = of;
  const folder = mkdtempSync(join(tmpdir(), "altrace-k6-"));
  const summary = join(folder, "summary.json");
  const settings = {
    KEY: keys[script.asks],
    NEIGHBOUR_KEY: keys.neighbour,
    GATEWAY: mesh.altrace.ready.gateway,
    SECONDS: load.seconds,
    STREAMS: load.streams,
    PER_SECOND: load.perSecond,
    BUDGET_USD: ADVERSARY_USD,
    FAR: far,
  };
  const words = Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const file = join(import.meta.dirname, "k6", `${script.name}.js`);
  const args = [
    "run",
    "--quiet",
    "--no-usage-report",
    `--summary-export=${summary}`,
    ...words,
    file,
  ];
  const forward = new URL(mesh.altrace.ready.forward);
  const proxy = { HTTPS_PROXY: `http://:${keys[script.asks]}@${forward.host}` };
  try {
    const env = { ...cleanEnv(), ...(script.isThroughProxy && proxy) };
    const k6 = spawn(K6, args, { env, stdio: "ignore", timeout: load.seconds * 3_000 + SPARE_MS });
    const ended = once(k6, "exit");
    await disturb(script, mesh, load.seconds);
    const [code] = (await ended) as [number | null];
    if (code !== 0 && code !== CROSSED) throw new Error(`k6 ${script.name} ends with ${code}`);
    return { summary: JSON.parse(readFileSync(summary, "utf8")), isCrossed: code === CROSSED };
  } finally {
    if (script.during !== "nothing") await mesh.operator.revive(SCOPE);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What happens to the agent that asks, while it does. */
async function disturb({ during }: K6Script, { operator }: MeshUnderTest, seconds: number) {
  if (during === "kill") {
    await pause((seconds * 1_000) / 2);
    await operator.kill(SCOPE);
  }
  if (during === "kills") {
    const endMs = performance.now() + seconds * 1_000;
    while (performance.now() < endMs) {
      await operator.kill(SCOPE);
      await operator.revive(SCOPE);
    }
    // So that it ends as the other ones do.
    await operator.kill(SCOPE);
  }
}

type Summary = { readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>> };

function figuresOf({ name, told }: K6Script, { metrics }: Summary): readonly Figure[] {
  return told.map(([metric, of]) => ({
    name: `${name}: ${metric} ${of}`,
    // k6 leaves out what never happened.
    value: metrics[metric]?.[of] ?? 0,
    unit: metric.endsWith("_ms") ? "ms" : "",
  }));
}
