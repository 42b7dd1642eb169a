import { expect, test } from "vitest";
import { JOURNAL_MESSAGES_MAX } from "../../../adapters/bus-subject.ts";
import { STREAM_BYTES_MAX } from "../../../adapters/nats-streams.ts";
import { SnapshotPace } from "../../../coordinator/snapshot-pace.ts";

const MIB = 1024 * 1024;
/** The largest snapshot there is. */
const PARTS_MAX = 400;

/** Links of that many bytes until the next one, after a snapshot of so many parts. */
function linksUntilDue(parts: number, bytes: number): number {
  const pace = new SnapshotPace();
  pace.wroteSnapshot(parts);
  for (let links = 1; ; links += 1) {
    pace.wroteLink(bytes);
    if (pace.isDue) return links;
  }
}

test("a large snapshot is written less often than a small one", () => {
  const parts = [1, 64, 128, PARTS_MAX];
  expect(parts.map((count) => linksUntilDue(count, 100))).toEqual([1_024, 1_024, 2_048, 6_400]);
});

test("long links make one due before there are many", () => {
  expect(linksUntilDue(1, MIB)).toBe(32);
  expect(linksUntilDue(PARTS_MAX, MIB)).toBe(32);
});

test("a snapshot begins both counts anew", () => {
  const pace = new SnapshotPace();
  for (let links = 0; links < 1_024; links += 1) pace.wroteLink(MIB / 32);
  expect(pace.isDue).toBe(true);
  pace.wroteSnapshot(1);
  expect(pace.isDue).toBe(false);
});

test("the stream holds the last snapshot until the next one is whole", () => {
  const two = 2 * PARTS_MAX;
  expect(two + linksUntilDue(PARTS_MAX, 1)).toBeLessThan(JOURNAL_MESSAGES_MAX);
  expect(two * (MIB / 4) + 33 * MIB).toBeLessThan(STREAM_BYTES_MAX);
});
