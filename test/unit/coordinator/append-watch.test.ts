import { expect, test } from "vitest";
import { AppendWatch } from "../../../coordinator/append-watch.ts";
import { type Bus, BusFault } from "../../../ports/bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { CONTROL_STREAM, JOURNAL_SUBJECT } from "../../../proto/subjects.ts";

type Outcome = { readonly seq: number } | "conflict" | BusFault;

/** A watch over a bus whose appends take so long and end so. */
function world() {
  const clock = twinClock();
  const told: string[] = [];
  const watch = new AppendWatch({
    clock,
    tell: (event, fields) => told.push(`${event} ${fields?.stream}`),
  });
  let outcome: Outcome = { seq: 1 };
  const inner = {
    append: async () => {
      clock.advance(2_000);
      if (outcome instanceof BusFault) throw outcome;
      return outcome;
    },
  };
  const bus = watch.over(inner as unknown as Bus);
  const append = async (end: Outcome, subject = "alt.ctl.kill.global") => {
    outcome = end;
    const options = { msgId: "m", expectSeq: 0 };
    return bus.append(subject, new Uint8Array(1), options).catch((error: unknown) => error);
  };
  return { clock, told, watch, append };
}

const TIMEOUT = new BusFault("unknown", "alt.ctl.kill.global");
const STORED = { seq: 7 };

test("counts from the first append that came to nothing until one is stored, for each stream", async () => {
  const { clock, watch, append } = world();
  expect(await append(STORED)).toBe(STORED);
  expect(watch.unanswered(CONTROL_STREAM)).toBeUndefined();
  expect(await append(TIMEOUT)).toBe(TIMEOUT);
  clock.advance(1_000);
  await append(TIMEOUT);
  expect(watch.unanswered(CONTROL_STREAM)).toEqual({ forMs: 5_000, error: String(TIMEOUT) });
  await append(STORED, JOURNAL_SUBJECT);
  expect(watch.unanswered(CONTROL_STREAM)?.forMs).toBe(5_000);
  await append(STORED);
  expect(watch.unanswered(CONTROL_STREAM)).toBeUndefined();
});

test("that a sequence is another is no sign that anything is stored", async () => {
  const { watch, append } = world();
  await append(TIMEOUT);
  expect(await append("conflict")).toBe("conflict");
  expect(watch.unanswered(CONTROL_STREAM)?.forMs).toBe(2_000);
});

test("is told once, later than an election takes, and so is its end", async () => {
  const { told, append } = world();
  for (let i = 0; i < 4; i += 1) await append(TIMEOUT);
  expect(told).toEqual([]);
  await append(TIMEOUT);
  await append(TIMEOUT);
  expect(told).toEqual(["stream_takes_nothing ALT_CTL"]);
  await append(STORED);
  await append(TIMEOUT);
  await append(STORED);
  expect(told).toEqual(["stream_takes_nothing ALT_CTL", "stream_takes_again ALT_CTL"]);
});

test("one failure grows no older, where nobody tries any more nothing waits, and what fails later begins anew", async () => {
  const { clock, watch, append } = world();
  await append(TIMEOUT);
  clock.advance(30_000);
  expect(watch.unanswered(CONTROL_STREAM)?.forMs).toBe(2_000);
  clock.advance(1);
  expect(watch.unanswered(CONTROL_STREAM)).toBeUndefined();
  await append(TIMEOUT);
  expect(watch.unanswered(CONTROL_STREAM)?.forMs).toBe(2_000);
});
