import { median } from "../harness/paired.ts";
import { treeResidentMib } from "../harness/process-tree.ts";
import { type Round, WISHES } from "./measure-rounds.ts";
import type { Slice } from "./measure-target.ts";
import type { Target } from "./target.ts";

/** Name of the provider itself, asked without anything between. */
export const DIRECT = "direct";

/** One row a target, the provider itself first; each cell is the median of its rounds. */
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
  const middle = (of: (own: Slice, direct: Slice) => number): number =>
    median(
      rounds.map((round) => {
        const own = round.get(name)?.[wish];
        const direct = round.get(DIRECT)?.[wish];
        if (own === undefined || direct === undefined) throw new Error(`${name} has no ${wish}`);
        return of(own, direct);
      }),
    );
  const perSecond = middle((own) => own.perSecond).toFixed(0);
  if (name === DIRECT) return [perSecond, "", "", ""];
  return [
    perSecond,
    middle((own) => own.cpuMicros).toFixed(0),
    middle((own, direct) => own.p50Ms - direct.p50Ms).toFixed(2),
    middle((own, direct) => own.p99Ms - direct.p99Ms).toFixed(2),
  ];
}
