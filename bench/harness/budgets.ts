import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchResult, Budget, Figure } from "./bench.ts";

const FILE = join(import.meta.dirname, "..", "budgets.json");

/** The limits of one bench. A bench without limits is a mistake: it would pass whatever it finds. */
export function budgetOf(bench: string): Budget {
  const all = JSON.parse(readFileSync(FILE, "utf8")) as Record<string, Budget>;
  const budget = all[bench];
  if (budget === undefined) throw new Error(`${bench} has no limits in budgets.json`);
  return budget;
}

export type Breach = { readonly figure: string; readonly value: number; readonly must: number };

/**
 * Figures over their limit. A limit whose figure was not measured is a breach of its own, unless the
 * bench says why it could not be.
 */
export function breaches(result: BenchResult, budget: Budget): readonly Breach[] {
  return Object.entries(budget).flatMap(([name, { must }]) => {
    const figure = result.figures.find((one) => one.name === name);
    if (figure === undefined && result.skipped?.has(name)) return [];
    if (figure === undefined) return [{ figure: name, value: Number.NaN, must }];
    return isOver(figure, must) ? [{ figure: name, value: figure.value, must }] : [];
  });
}

function isOver(figure: Figure, must: number): boolean {
  return figure.pairs === undefined ? !(figure.value <= must) : figure.pairs.isBreach;
}
