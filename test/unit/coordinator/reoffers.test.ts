import { expect, test } from "vitest";
import { Reoffers } from "../../../coordinator/reoffers.ts";
import { StreamView } from "../../../coordinator/stream-view.ts";
import { MeshState } from "../../../mesh/state.ts";
import type { Bus } from "../../../ports/bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { after, kill, record, revive } from "../mesh/sample-mesh.ts";

const SCOPE = "agent/payments/bot";

test("a record that is offered while an older one is being written is written after it", async () => {
  const older = record(SCOPE, kill());
  const newer = after(older, revive());
  const state = new MeshState();
  const written: Uint8Array[] = [];
  const stored = Promise.withResolvers<void>();
  const appending = Promise.withResolvers<void>();
  const bus: Pick<Bus, "last" | "append"> = {
    last: async (_stream, subject) =>
      written.length === 0
        ? undefined
        : { subject, bytes: written.at(-1) as Uint8Array, seq: written.length },
    append: async (_subject, bytes) => {
      appending.resolve();
      await stored.promise;
      return { seq: written.push(bytes) };
    },
  };
  const reoffers = new Reoffers({
    bus: bus as Bus,
    clock: twinClock(),
    tell: () => undefined,
    state,
    stream: new StreamView(),
    counts: () => true,
    adopt: ({ bytes }) => [older, newer].find((one) => one.bytes === bytes),
    noteStored: () => undefined,
    signal: new AbortController().signal,
  });
  state.merge(older);
  const offered = reoffers.offer(SCOPE);
  await appending.promise;
  state.merge(newer);
  // The first one is under way, so this does nothing by itself.
  await reoffers.offer(SCOPE);
  stored.resolve();
  await offered;
  expect(written).toEqual([older.bytes, newer.bytes]);
});
