import { expect, test } from "vitest";
import { BusLog } from "../../../adapters/bus-log.ts";
import type { StreamShape } from "../../../adapters/bus-subject.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinStore } from "../../../ports/twin-store.ts";

const SHAPE: StreamShape = { name: "HIST", prefix: "h.", keeps: 4, republished: false };

test("a stream that keeps so many messages keeps the newest of all subjects, across restarts", async () => {
  const clock = twinClock();
  const store = twinStore();
  let log = new BusLog(SHAPE, store, clock);
  const last = { "h.a": 0, "h.b": 0 };
  for (let no = 1; no <= 300; no += 1) {
    const subject = no % 3 === 0 ? "h.b" : "h.a";
    const options = { msgId: `m${no}`, expectSeq: last[subject] };
    expect(await log.append(subject, Buffer.from(`${no}`), options)).toMatchObject({ seq: no });
    last[subject] = no;
    if (no % 50 === 0) log = new BusLog(SHAPE, store, clock);
    const kept = log.read(0, 100).map(({ seq, bytes }) => [seq, Buffer.from(bytes).toString()]);
    const from = Math.max(1, no - 3);
    const expected = Array.from({ length: no - from + 1 }, (_, i) => [from + i, `${from + i}`]);
    expect(kept).toEqual(expected);
  }
  expect(log.last("h.b")).toMatchObject({ seq: 300 });
  // Who has made room for newer ones is forgotten, as a server forgets it: its subject begins anew.
  for (let no = 301; no <= 304; no += 1) {
    await log.append("h.a", Buffer.from(""), { msgId: `m${no}`, expectSeq: last["h.a"] });
    last["h.a"] = no;
  }
  expect(log.last("h.b")).toBeUndefined();
  expect(await log.append("h.b", Buffer.from(""), { msgId: "new", expectSeq: 0 })).toMatchObject({
    seq: 305,
  });
  expect(store.durable.size).toBe(4);
  expect(await log.append("h.a", Buffer.from(""), { msgId: "x", expectSeq: 1 })).toBe("conflict");
});
