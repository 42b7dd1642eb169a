import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Figure } from "./bench.ts";
import { partsOf } from "./profile-parts.ts";

const PARTS_SHOWN = 14;
/** Threads and parts below are left out, microseconds per request. */
const SHOWN_US_MIN = 0.5;

/** Processor time of each thread between two looks of `threadMicros`, and of all, per request. */
export function perRequest(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  requests: number,
): Figure[] {
  const figures = [...after].map(([thread, micros]) => ({
    name: thread,
    value: (micros - (before.get(thread) ?? 0)) / requests,
    unit: "us",
  }));
  const total = figures.reduce((sum, { value }) => sum + value, 0);
  const shown = figures.filter(({ value }) => value >= SHOWN_US_MIN);
  return [...shown, { name: "all_threads", value: total, unit: "us" }];
}

/** One line for each thread that was profiled: where its time went, largest first. */
export function partsNotes(profileDir: string, requests: number): readonly string[] {
  return readdirSync(profileDir).map((file) => partsNote(join(profileDir, file), requests));
}

function partsNote(file: string, requests: number): string {
  const parts = [...partsOf(file)]
    .map(([part, micros]) => ({ part, us: micros / requests }))
    .filter(({ us }) => us >= SHOWN_US_MIN)
    .sort((one, other) => other.us - one.us)
    .slice(0, PARTS_SHOWN)
    .map(({ part, us }) => `${part} ${us.toFixed(1)}`);
  const thread = file.slice(file.lastIndexOf("/") + 1, -".cpuprofile".length);
  return `${thread}, us per request: ${parts.length === 0 ? "next to nothing" : parts.join(", ")}.`;
}
