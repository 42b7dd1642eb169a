import { expect, test } from "vitest";
import { eventLog } from "../../../coordinator/event-log.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

function logged() {
  const lines: { level: string; event: string; fields: Record<string, unknown> }[] = [];
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, event: string) => {
    lines.push({ level, event, fields: { ...fields } });
  };
  const clock = twinClock();
  const tell = eventLog({ info: at("info"), warn: at("warn"), error: at("error") }, clock);
  return { lines, clock, tell };
}

test("an event is one line at its own level", () => {
  const { lines, tell } = logged();
  tell("started", { mesh: "m" });
  tell("ledger_failed");
  expect(lines).toEqual([
    { level: "info", event: "started", fields: { mesh: "m" } },
    { level: "error", event: "ledger_failed", fields: {} },
  ]);
});

test("what repeats in one second is left out, and how much that was is told afterwards", () => {
  const { lines, clock, tell } = logged();
  for (let i = 0; i < 100; i += 1) tell("beat_refused", { i });
  tell("started");
  expect(lines.filter(({ event }) => event === "beat_refused")).toHaveLength(20);
  expect(lines.at(-1)?.event).toBe("started");
  clock.advance(1_000);
  tell("beat_refused", { i: 100 });
  expect(lines.at(-1)?.fields).toEqual({ i: 100, left_out_before: 80 });
});
