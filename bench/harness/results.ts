import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { markdownTable } from "../../scripts/markdown-table.ts";
import type { Bench, BenchResult, Budget, Figure } from "./bench.ts";
import type { Machine } from "./machine.ts";

const FILE = join(import.meta.dirname, "..", "RESULTS.md");

/** Lines for people: one a figure, with its limit. */
export function describeResult(result: BenchResult, budget: Budget): readonly string[] {
  const width = Math.max(0, ...result.figures.map(({ name }) => name.length));
  const lines = result.figures.map((figure) => {
    const limit = budget[figure.name];
    const told = limit === undefined ? "" : `  (must be <= ${limit.must})`;
    return `  ${figure.name.padEnd(width)}  ${formatFigure(figure)}${told}`;
  });
  return [
    `  load: ${result.load}`,
    ...lines,
    ...skippedLines(result).map((line) => `  ${line}`),
    ...tableLines(result),
    ...result.notes.map((note) => `  note: ${note}`),
  ];
}

function skippedLines({ skipped = new Map() }: BenchResult): readonly string[] {
  return [...skipped].map(([figure, why]) => `SKIPPED: ${figure}: ${why}`);
}

function tableLines({ table }: BenchResult): readonly string[] {
  return table === undefined ? [] : ["", ...markdownTable(table), ""];
}

/**
 * Appends one dated section. Sections that stand there are never changed.
 *
 * @param of.words What came after `npm run bench --`.
 * @param of.meanwhile What the machine took for other things in that time.
 */
export function recordResult(
  bench: Bench,
  of: {
    readonly result: BenchResult;
    readonly machine: Machine;
    readonly words: readonly string[];
    readonly meanwhile: string;
  },
): void {
  const { result, machine, words, meanwhile } = of;
  const { at, commit, cpu, memoryGib, kernel, node, fileSystem, load } = machine;
  const lines = [
    "",
    `## ${at} UTC, ${bench.name}`,
    "",
    `${bench.question}`,
    "",
    `Commit ${commit}, Node ${node}, ${cpu}, ${memoryGib} GiB, Linux ${kernel}, ${fileSystem}, load ${load}.`,
    `Command: \`npm run bench -- ${words.join(" ")}\`. Load: ${result.load}.`,
    `The machine meanwhile: ${meanwhile}.`,
    "",
    ...markdownTable([
      ["figure", "value"],
      ...result.figures.map((figure) => [figure.name, formatFigure(figure)]),
    ]),
    ...tableLines(result),
    ...skippedLines(result).flatMap((line) => ["", line]),
    ...result.notes.flatMap((note) => ["", note]),
    "",
  ];
  appendFileSync(FILE, lines.join("\n"));
}

function formatFigure({ value, unit, pairs, range }: Figure): string {
  const text = `${formatNumber(value)}${unit === "" ? "" : ` ${unit}`}`;
  if (range !== undefined) {
    return `${text} (${formatNumber(range.least)} to ${formatNumber(range.most)})`;
  }
  if (pairs === undefined) return text;
  return `${text} (pairs: ${pairs.ratios.map(formatNumber).join(", ")})`;
}

function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
