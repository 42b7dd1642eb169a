import { describe, expect, test } from "vitest";
import {
  ALERT_EVERY_MS,
  ALERT_KINDS_MAX,
  ALL_OTHERS,
  AlertBook,
} from "../../../../node/alerts/alert-book.ts";
import { refusal } from "./refusal.ts";

const T = 1_790_000_000_000;
const ROOM = 100;

describe("alerts", () => {
  test("B1: the first refusal is told at once, what follows once a minute with its count", () => {
    const book = new AlertBook();
    expect(book.note(refusal(T))).toBe(true);
    expect(book.takeDue(T, ROOM)).toMatchObject([{ count: 1, requestId: `request-${T}` }]);
    for (let i = 1; i <= 5; i++) expect(book.note(refusal(T + i))).toBe(false);
    expect(book.takeDue(T + ALERT_EVERY_MS - 1, ROOM)).toEqual([]);
    expect(book.takeDue(T + ALERT_EVERY_MS, ROOM)).toEqual([
      {
        agent: "research/worker-1",
        reason: "model_not_granted",
        stage: 9,
        count: 5,
        firstMs: T + 1,
        lastMs: T + 5,
        requestId: `request-${T + 5}`,
      },
    ]);
  });

  test("kinds are agents and reasons", () => {
    const book = new AlertBook();
    book.note(refusal(T));
    book.note(refusal(T, { reason: "tool_not_granted" }));
    book.note(refusal(T, { agentId: "research/worker-2" }));
    expect(book.takeDue(T, ROOM)).toHaveLength(3);
  });

  test("B2: what finds no room stays counted, and is told when there is some", () => {
    const book = new AlertBook();
    book.note(refusal(T));
    expect(book.takeDue(T, 0)).toEqual([]);
    book.note(refusal(T + 1));
    expect(book.takeDue(T + 2, 1)).toMatchObject([{ count: 2 }]);
  });

  test("B3: beyond the bound agents share one kind, and kinds that are over make room", () => {
    const book = new AlertBook();
    for (let i = 0; i < ALERT_KINDS_MAX; i++) book.note(refusal(T, { agentId: `a/${i}` }));
    for (let i = 0; i < 3; i++) book.note(refusal(T, { agentId: `b/${i}` }));
    const due = book.takeDue(T, ALERT_KINDS_MAX + ROOM);
    expect(due.find(({ agent }) => agent === ALL_OTHERS)).toMatchObject({ count: 3 });
    expect(due.reduce((sum, { count }) => sum + count, 0)).toBe(ALERT_KINDS_MAX + 3);
    book.takeDue(T + ALERT_EVERY_MS, ROOM);
    book.note(refusal(T + ALERT_EVERY_MS, { agentId: "c/1" }));
    expect(book.takeDue(T + ALERT_EVERY_MS, ROOM)).toMatchObject([{ agent: "c/1" }]);
  });

  test("a clock that is set back by hours silences no kind", () => {
    const book = new AlertBook();
    book.note(refusal(T));
    book.takeDue(T, ROOM);
    const earlier = T - 3_600_000;
    expect(book.note(refusal(earlier))).toBe(true);
    expect(book.takeDue(earlier, ROOM)).toHaveLength(1);
  });

  test("what was taken as changed makes the same book again", () => {
    const book = new AlertBook();
    book.note(refusal(T));
    book.takeDue(T, ROOM);
    book.note(refusal(T + 1));
    const kept = book.takeChanged().flatMap(([, state]) => state ?? []);
    expect(book.takeChanged()).toEqual([]);
    const again = new AlertBook(kept);
    expect(again.note(refusal(T + 2))).toBe(false);
    expect(again.takeDue(T + ALERT_EVERY_MS, ROOM)).toMatchObject([{ count: 2, firstMs: T + 1 }]);
  });
});
