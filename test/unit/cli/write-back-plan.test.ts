import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { leftOfPlan, planWriteBack } from "../../../cli/write-back-plan.ts";
import { AccountSchema } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { Unit } from "../../../proto/gen/altrace/v1/record_pb.ts";

const row = (
  account: string,
  window: string,
  of: { limit: bigint; spent?: bigint; below?: bigint },
) =>
  create(AccountSchema, {
    ...{ account, window, unit: Unit.USD_MICROS, limit: of.limit },
    ...{ spent: of.spent ?? 0n, children: of.below ?? 0n },
  });
const AGENT = "agent/t/a";
const TEAM = "team/t";
const usd = (amount: bigint) => ({ unit: Unit.USD_MICROS, amount });

test("an account and its team rise together, the account last", () => {
  const rows = [
    [row(AGENT, "total", { limit: 100n, spent: 60n })],
    [row(TEAM, "total", { limit: 500n, below: 300n })],
  ];
  expect(planWriteBack(rows, usd(40n))).toEqual([
    { account: TEAM, limits: [{ window: "total", before: 500n, limit: 540n }] },
    { account: AGENT, limits: [{ window: "total", before: 100n, limit: 140n }] },
  ]);
});

test("a window gives back no more than was charged in it", () => {
  const rows = [
    [
      row(AGENT, "total", { limit: 100n, spent: 60n }),
      row(AGENT, "hour:2026-11-29T19", { limit: 50n, spent: 5n }),
      row(AGENT, "day:2026-11-29", { limit: 80n }),
    ],
    [row(TEAM, "total", { limit: 500n })],
  ];
  expect(planWriteBack(rows, usd(40n))).toEqual([
    {
      account: AGENT,
      limits: [
        { window: "total", before: 100n, limit: 140n },
        { window: "hour:2026-11-29T19", before: 50n, limit: 55n },
      ],
    },
  ]);
});

test("more than was ever charged is refused, and so is another unit's", () => {
  const rows = [[row(AGENT, "total", { limit: 100n, spent: 60n })]];
  expect(planWriteBack(rows, usd(61n))).toEqual({ most: 60n });
  expect(planWriteBack(rows, { unit: Unit.TOKENS, amount: 1n })).toEqual({ most: 0n });
});

describe("a write-back that was broken off", () => {
  const HOUR = "hour:2026-11-29T19";
  const PLAN = [
    { account: TEAM, limits: [{ window: "total", before: 500n, limit: 540n }] },
    {
      account: AGENT,
      limits: [
        { window: "total", before: 100n, limit: 140n },
        { window: HOUR, before: 50n, limit: 55n },
      ],
    },
  ];
  const leftAt = (team: bigint, agent: bigint, hour: bigint | undefined) =>
    leftOfPlan(
      PLAN,
      [
        row(TEAM, "total", { limit: team }),
        row(AGENT, "total", { limit: agent }),
        ...(hour === undefined ? [] : [row(AGENT, HOUR, { limit: hour })]),
      ],
      Unit.USD_MICROS,
    );

  test("goes on with what was not raised, and raises nothing twice", () => {
    expect(leftAt(500n, 100n, 50n)).toEqual({ left: PLAN, isBegun: false, changed: undefined });
    expect(leftAt(540n, 100n, 50n)).toEqual({ left: [PLAN[1]], isBegun: true, changed: undefined });
    expect(leftAt(540n, 140n, 55n)).toEqual({ left: [], isBegun: true, changed: undefined });
  });

  test("leaves out a window that has ended", () => {
    expect(leftAt(540n, 100n, undefined).left).toEqual([
      { account: AGENT, limits: [{ window: "total", before: 100n, limit: 140n }] },
    ]);
  });

  test("says of a limit that somebody else has set meanwhile", () => {
    expect(leftAt(600n, 100n, 50n).changed).toEqual({ account: TEAM, window: "total" });
  });
});
