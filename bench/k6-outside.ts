import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench, Figure } from "./harness/bench.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { cleanEnv } from "./harness/start-altrace.ts";

const K6 = join(import.meta.dirname, "..", ".tools", "bin", "k6");
const SCOPE = `agent/${TARGET}`;
const SECONDS = { full: 30, short: 8 };
const STREAMS = { full: 100, short: 20 };

/** Metrics of each script that are told, with their units. */
const TOLD: Readonly<Record<string, readonly (readonly [metric: string, of: string])[]>> = {
  "kill-block": [
    ["refused_by_kill", "count"],
    ["succeeded_after_first_refusal", "count"],
    ["refusal_ms", "p(50)"],
    ["refusal_ms", "p(99)"],
  ],
  teardown: [
    ["streams_told_why", "count"],
    ["streams_whole", "count"],
    ["stream_ms", "p(50)"],
    ["stream_ms", "max"],
  ],
};

/** Told, never gated: below 5 ms what k6 sees is mostly k6. */
export const k6Outside: Bench = {
  name: "k6",
  question: "What does a kill look like to k6, which knows nothing of Altrace?",
  run: async ({ isFull }) => {
    if (!existsSync(K6)) {
      return { load: "none", figures: [], notes: ["SKIPPED: no k6; `npm run tools` brings it."] };
    }
    await using mesh = await startMesh({});
    const seconds = isFull ? SECONDS.full : SECONDS.short;
    const streams = isFull ? STREAMS.full : STREAMS.short;
    const figures: Figure[] = [];
    for (const script of Object.keys(TOLD)) {
      figures.push(...(await oneScript(mesh, script, { seconds, streams })));
    }
    return { load: `${seconds} s each; ${streams} streams`, figures, notes: [] };
  },
};

async function oneScript(
  mesh: MeshUnderTest,
  script: string,
  load: { readonly seconds: number; readonly streams: number },
): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "altrace-k6-"));
  const summary = join(folder, "summary.json");
  const settings = {
    KEY: mesh.keys.target,
    GATEWAY: mesh.altrace.ready.gateway,
    SECONDS: load.seconds,
    STREAMS: load.streams,
  };
  const env = Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const file = join(import.meta.dirname, "k6", `${script}.js`);
  const args = ["run", "--quiet", `--summary-export=${summary}`, ...env, file];
  try {
    const k6 = spawn(K6, args, { env: cleanEnv(), stdio: "ignore" });
    const ended = once(k6, "exit");
    await pause((load.seconds * 1_000) / 2);
    await mesh.operator.kill(SCOPE);
    const [code] = (await ended) as [number | null];
    if (!existsSync(summary)) throw new Error(`k6 ends with ${code} and without a summary`);
    return figuresOf(script, JSON.parse(readFileSync(summary, "utf8")));
  } finally {
    await mesh.operator.revive(SCOPE);
    rmSync(folder, { recursive: true, force: true });
  }
}

type Summary = { readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>> };

function figuresOf(script: string, { metrics }: Summary): readonly Figure[] {
  return (TOLD[script] ?? []).map(([metric, of]) => ({
    name: `${script}: ${metric} ${of}`,
    // k6 leaves out what never happened.
    value: metrics[metric]?.[of] ?? 0,
    unit: metric.endsWith("_ms") ? "ms" : "",
  }));
}
