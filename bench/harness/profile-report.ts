import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Figure } from "./bench.ts";
import { type Profile, sharesOf } from "./profile-parts.ts";

/** What a reader must know of the lines of `partsNotes`. */
export const PARTS_ARE =
  "Threads: the kernel's count, unprofiled. Parts: a thread's share of V8's samples, of what the kernel " +
  "counted for it; a system call is in the part that is named like it, or in (program).";
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

/**
 * One line for each thread that was profiled: where its processor time went, largest first, and what is too
 * little to name. Together they are what the kernel counted for it.
 *
 * @param figures Processor time of each thread per request, as `perRequest` has it.
 */
export function partsNotes(profileDir: string, figures: readonly Figure[]): readonly string[] {
  return readdirSync(profileDir).map((file) => {
    const thread = file.slice(0, -".cpuprofile".length);
    const profile = JSON.parse(readFileSync(join(profileDir, file), "utf8")) as Profile;
    const counted = figures.find(({ name }) => name === (KERNEL_NAMES.get(thread) ?? thread));
    return partsNote(thread, counted?.value ?? 0, sharesOf(profile));
  });
}

/** Threads that the kernel calls otherwise than the node does. */
const KERNEL_NAMES = new Map([["main", "node-MainThread"]]);

export function partsNote(
  thread: string,
  threadUs: number,
  shares: ReadonlyMap<string, number>,
): string {
  if (threadUs === 0 || shares.size === 0) return `${thread}: next to nothing.`;
  const parts = [...shares]
    .map(([part, share]) => ({ part, us: share * threadUs }))
    .filter(({ us }) => us >= SHOWN_US_MIN)
    .sort((one, other) => other.us - one.us)
    .slice(0, PARTS_SHOWN);
  const elseUs = threadUs - parts.reduce((sum, { us }) => sum + us, 0);
  const told = [...parts, { part: "all else", us: elseUs }]
    .map(({ part, us }) => `${part} ${us.toFixed(1)}`)
    .join(", ");
  return `${thread}, of ${threadUs.toFixed(1)} us per request: ${told}.`;
}
