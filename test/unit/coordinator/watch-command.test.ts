import { setImmediate as nextTurn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { Command } from "../../../coordinator/command.ts";
import type { NodeProgress } from "../../../coordinator/registry.ts";
import {
  WATCH_EVERY_MS,
  WATCH_GAP_MS_MAX,
  WATCH_GAP_MS_PER_NODE,
  watchCommand,
} from "../../../coordinator/watch-command.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { AckSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

const HASH = "ab".repeat(32);
const KILL: Command = {
  cmdId: "0198c0de-0000-7000-8000-000000000001",
  kind: "kill",
  scope: "team/red",
  op: "kill",
  acceptedAtMs: 0,
  v: 1,
  hashHex: HASH,
  bytes: undefined,
  record: undefined,
  accepted: true,
  committed: true,
  conflict: false,
};

/** A command of so many nodes, of which one acknowledges at each millisecond. */
function watched(nodes: number) {
  const clock = twinClock();
  const listeners = new Set<() => void>();
  const ack = create(AckSchema, { cmdId: KILL.cmdId, durable: true, closed: true });
  let acked = 0;
  const registry = {
    onProgress: (_: string, fn: () => void) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    progress: (): readonly NodeProgress[] =>
      Array.from({ length: nodes }, (_, no) => ({
        node: `n${no}`,
        ack: no < acked ? ack : undefined,
        isLive: true,
        containedAtMs: 0,
        isContained: false,
      })),
    isDone: () => acked === nodes,
  };
  const { signal } = new AbortController();
  const told: (number | undefined)[] = [];
  const watching = (async () => {
    for await (const { command } of watchCommand({ registry, clock }, KILL, { signal })) {
      told.push(command.nodesDurable);
    }
  })();
  const pass = async (ms: number, acks: boolean): Promise<void> => {
    for (let i = 0; i < ms; i += 1) {
      if (acks && acked < nodes) {
        acked += 1;
        for (const fn of [...listeners]) fn();
      }
      clock.advance(1);
      await nextTurn();
    }
  };
  return { told, pass, watching, listeners, registry, clock, signal };
}

test("a watcher of many nodes is told of many acks at once, and of the last one", async () => {
  const { told, pass, watching } = watched(1_000);
  await pass(1_000, true);
  const gapMs = WATCH_GAP_MS_PER_NODE * 1_000;
  expect(told.length).toBeGreaterThan(2);
  expect(told.length).toBeLessThanOrEqual(1 + 1_000 / gapMs);
  await pass(gapMs + 1, false);
  await watching;
  expect(told.at(-1)).toBe(1_000);
});

test("a watcher of few is told within two milliseconds", async () => {
  const { told, pass } = watched(10);
  await pass(1, true);
  await pass(2, false);
  expect(told).toEqual([0, 1]);
});

test("a watcher of very many waits for no more than the longest gap and a look", async () => {
  const { told, pass } = watched(6_000);
  await pass(1, true);
  await pass(WATCH_GAP_MS_MAX + WATCH_EVERY_MS, false);
  expect(told).toEqual([0, 1]);
});

test("a watcher that goes while it is told is told nothing more, and is not kept", async () => {
  const { registry, clock, signal, listeners } = watched(1);
  const [before, watcher] = [listeners.size, watchCommand({ registry, clock }, KILL, { signal })];
  await watcher.next();
  expect(listeners.size).toBe(before + 1);
  await watcher.return();
  expect(listeners.size).toBe(before);
});
