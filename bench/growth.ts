import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentsAxis } from "./growth/agents-axis.ts";
import type { Axis } from "./growth/axis.ts";
import { contractsAxis } from "./growth/contracts-axis.ts";
import { growthOf } from "./growth/growth-of.ts";
import { measureAxis, type Point } from "./growth/measure-axis.ts";
import { rulesAxis } from "./growth/rules-axis.ts";
import { streamsAxis } from "./growth/streams-axis.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { medianAndRange, type Pair } from "./harness/paired.ts";
import { curveSvg } from "./plots/curve-svg.ts";

const PLOTS = join(import.meta.dirname, "plots");
const SLICE_MS = { full: 1_200, short: 500 };
const WARM_UP = { full: { count: 40_000, msMax: 60_000 }, short: { count: 2_000, msMax: 2_000 } };

export const growth: Bench = {
  name: "growth",
  question: "Does a request cost more where there are more agents, streams, contracts or rules?",
  run: async ({ isFull, isRecorded, durationMs }, budget) => {
    const size = isFull ? "full" : "short";
    const folder = isRecorded ? PLOTS : mkdtempSync(join(tmpdir(), "altrace-plots-"));
    mkdirSync(folder, { recursive: true });
    const figures: Figure[] = [];
    const table: string[][] = [["axis", "at", "CPU us", "bare proxy us", "RSS MiB"]];
    const axes = [agentsAxis(), streamsAxis(), contractsAxis(), rulesAxis()];
    for (const axis of axes) {
      const sliceMs = durationMs ?? SLICE_MS[size];
      const measured = { points: axis.points[size], sliceMs, warmUp: WARM_UP[size] };
      const points = await measureAxis(axis, measured);
      writeFileSync(join(folder, `${axis.name}.svg`), plotOf(axis, points));
      figures.push(growthOf(axis.name, points, budget));
      table.push(...points.map((point) => rowOf(axis, point)));
    }
    return {
      load: `small JSON requests, ${measuredAt(axes, size)}`,
      figures,
      table,
      notes: [
        "x_growth: what a request costs at the last point, in bare proxies of the same minute, over the " +
          "same at the cheapest point before. CPU: median, least and most of the slices.",
        ...axes.map(({ name, of, end }) => `${name}: ${of}; ${end}.`),
        `Curves: ${isRecorded ? "bench/plots" : folder}/*.svg.`,
      ],
    };
  },
};

function plotOf(axis: Axis, points: readonly Point[]): string {
  return curveSvg({
    title: `Processor time of a small JSON request, by ${axis.of}`,
    xLabel: axis.of,
    yLabel: "CPU, us per request",
    series: [
      { name: "altrace", points: points.map((one) => ({ x: one.at, y: one.cpuMicros })) },
      { name: "bare proxy", points: points.map((one) => ({ x: one.at, y: one.bareMicros })) },
    ],
  });
}

function rowOf({ name }: Axis, { at, pairs, residentMib }: Point): string[] {
  const of = (side: keyof Pair) => medianAndRange(pairs.map((pair) => pair[side]));
  return [name, String(at), of("subject"), of("baseline"), residentMib.toFixed(0)];
}

function measuredAt(axes: readonly Axis[], size: "full" | "short"): string {
  return axes.map(({ name, points }) => `${points[size].join("-")} ${name}`).join(", ");
}
