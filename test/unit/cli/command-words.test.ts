import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { nodeLines, nodeStateWord, summary } from "../../../cli/command-words.ts";
import { liveLines } from "../../../cli/live-command.ts";
import { CommandStateSchema } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";

const NOW_MS = Date.UTC(2026, 10, 22, 12);
const done = {
  enforcedNs: 660_000n,
  gatedNs: 710_000n,
  closed: true,
  closedNs: 1_800_000n,
  durable: true,
  durableNs: 10_900_000n,
  sweptNs: 900_000n,
  sweptCount: 2,
};
const command = create(CommandStateSchema, {
  scope: "team/red",
  accepted: true,
  committed: true,
  nodesTotal: 5,
  nodesEnforced: 2,
  nodesClosed: 1,
  nodesDurable: 1,
  nodesContained: 1,
  nodes: [
    { node: "n1", ack: done },
    { node: "n2", ack: { enforcedNs: 700_000n } },
    { node: "n3" },
    { node: "n4", containedAtMs: BigInt(NOW_MS + 14_000) },
    { node: "n5", containedAtMs: BigInt(NOW_MS - 1_000), contained: true },
    { node: "n6", ack: { refused: "version_old" } },
  ],
});

test("a node's line says how far it is; a silent one's, when its dead-man switch has closed it", () => {
  expect(nodeLines(command, NOW_MS).split("\n")).toEqual([
    "  n1  enforced 0.66 ms, gated 0.71 ms  closed 0 in 1.80 ms, swept 2 in 0.90 ms         durable 10.90 ms",
    "  n2  enforced 0.70 ms                 closing                                         not yet durable",
    "  n3  waited for",
    "  n4  silent                           contained in 14 s, at 2026-11-22T12:00:14.000Z",
    "  n5  silent                           contained since 2026-11-22T11:59:59.000Z",
    "  n6  refused                          version_old",
  ]);
});

test("the bar counts who is durable or contained", () => {
  expect(summary(command, true)).toBe(
    "[########............]  committed  enforced 2/5  closed 1/5  durable 1/5  contained 1/5",
  );
});

test("the picture shows whoever is waited for first, and counts the rest", () => {
  const lines = liveLines(command, NOW_MS, 6);
  expect(lines.slice(0, 2)).toEqual(["team/red", summary(command, true)]);
  expect(lines.slice(2, 4).map((line) => line.trim().split(" ")[0])).toEqual(["n2", "n3"]);
  expect(lines.at(-1)).toBe("  and 4 more, 3 of them done");
  // Time passes between two words of the coordinator.
  expect(liveLines(command, NOW_MS + 4_000, 24).join("\n")).toContain("contained in 10 s");
});

test("of an order to erase a person it says who has, and whom it waits for", () => {
  const order = create(CommandStateSchema, {
    ...{ scope: "redaction/01998f3e", accepted: true, committed: true },
    ...{ nodesTotal: 4, nodesEnforced: 2, nodesClosed: 1, nodesDurable: 2 },
    nodes: [
      { node: "n1", ack: { ...done, closedCount: 2 } },
      { node: "n2", ack: { durable: true } },
      { node: "n3" },
      { node: "n4", ack: { refused: "field_unknown" } },
    ],
  });
  expect(summary(order, true)).toBe("[#####...............]  committed  erased 1/4");
  expect(nodeLines(order, NOW_MS).split("\n")).toEqual([
    "  n1  erased 2 keys",
    "  n2  erasing",
    "  n3  waited for",
    "  n4  refused        field_unknown",
  ]);
});

test("a silent node counts as closed once its dead-man switch must have closed it, and not before", () => {
  const at = (ms: number) => ({ live: false, open: false, containedAtMs: BigInt(NOW_MS + ms) });
  expect(nodeStateWord({ live: true, open: true, containedAtMs: 0n }, NOW_MS)).toBe("open");
  expect(nodeStateWord({ live: true, open: false, containedAtMs: 0n }, NOW_MS)).toBe("closed");
  expect(nodeStateWord(at(1_000), NOW_MS)).toBe("open until 2026-11-22T12:00:01.000Z?");
  expect(nodeStateWord(at(0), NOW_MS)).toBe("closed");
});
