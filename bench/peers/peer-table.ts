import { medianAndRange } from "../harness/paired.ts";
import { treeResidentMib } from "../harness/process-tree.ts";
import { type Round, WISHES } from "./measure-rounds.ts";
import type { Slice } from "./measure-target.ts";
import type { Target } from "./target.ts";

/** Name of the provider itself, asked without anything between. */
export const DIRECT = "direct";

/** One row a target, the provider itself first; each cell is the median of its rounds, with the least and the most. */
export function peerTable(of: {
  readonly targets: readonly Target[];
  readonly rounds: readonly Round[];
  readonly coldStartMs: ReadonlyMap<string, number>;
  readonly versions: ReadonlyMap<string, string>;
}): readonly (readonly string[])[] {
  const each = ["req/s", "CPU us", "p50 added ms", "p99 added ms"];
  const head = ["", ...each.map((name) => `JSON ${name}`), ...each.map((name) => `SSE ${name}`)];
  const rows = of.targets.map(({ name, pid }) => [
    `${name} ${of.versions.get(name) ?? ""}`.trim(),
    ...WISHES.flatMap((wish) => cellsOf(name, wish, of.rounds)),
    pid === undefined ? "" : treeResidentMib(pid).toFixed(0),
    of.coldStartMs.get(name)?.toFixed(0) ?? "",
  ]);
  return [[...head, "RSS MiB", "cold start ms"], ...rows];
}

function cellsOf(name: string, wish: (typeof WISHES)[number], rounds: readonly Round[]): string[] {
  const cell = (digits: number, of: (own: Slice, direct: Slice) => number): string =>
    medianAndRange(
      rounds.map((round) => {
        const own = round.get(name)?.[wish];
        const direct = round.get(DIRECT)?.[wish];
        if (own === undefined || direct === undefined) throw new Error(`${name} has no ${wish}`);
        return of(own, direct);
      }),
      digits,
    );
  const perSecond = cell(0, (own) => own.perSecond);
  if (name === DIRECT) return [perSecond, "", "", ""];
  return [
    perSecond,
    cell(0, (own) => own.cpuMicros),
    cell(2, (own, direct) => own.p50Ms - direct.p50Ms),
    cell(2, (own, direct) => own.p99Ms - direct.p99Ms),
  ];
}
