import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { meshLines, span, standingLines } from "../../../cli/standing-words.ts";
import { MeshAgentSchema } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { Standing } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { GetStandingResponseSchema } from "../../../proto/gen/altrace/v1/node_service_pb.ts";
import { Unit } from "../../../proto/gen/altrace/v1/record_pb.ts";

const NOW_MS = Date.UTC(2026, 10, 22, 12);
const at = (ms: number) => BigInt(NOW_MS + ms);
const usd = { unit: Unit.USD_MICROS, window: "day:2026-11-22", limit: 10_000_000n };
const marks = [
  { level: Standing.WARNING, enterMilli: 3_000n, leaveMilli: 1_500n },
  { level: Standing.QUARANTINE, enterMilli: 100_000n, leaveMilli: 25_000n },
];

const linesOf = (of: Parameters<typeof create<typeof GetStandingResponseSchema>>[1]) =>
  standingLines(create(GetStandingResponseSchema, of), NOW_MS).join("\n");

test("an agent in quarantine is told with its causes, their age, and what ends each of them", () => {
  const text = linesOf({
    node: "node-1",
    agent: "t/a",
    standing: Standing.QUARANTINE,
    cause: "tool_outside_grant",
    requestId: "r-1",
    sinceMs: at(-200_000),
    level: Standing.QUARANTINE,
    scoreMilli: 98_100n,
    shares: [
      {
        cause: "tool_outside_grant",
        milli: 98_100n,
        count: 1n,
        lastAtMs: at(-200_000),
        windowMs: 60_000n,
        halfLifeMs: 120_000n,
      },
    ],
    marks,
    falls: [
      { to: Standing.WARNING, atMs: at(220_000) },
      { to: Standing.NORMAL, atMs: at(900_000) },
    ],
    budgetLevel: Standing.WARNING,
    budget: [{ ...usd, spent: 8_200_000n, endsAtMs: at(43_200_000) }],
    budgetWarningMilli: 800,
    budgetThrottleMilli: 950,
    others: Standing.BLOCK,
    autoKill: ["content_high"],
  });
  expect(text).toBe(
    [
      "t/a stands at quarantine on node-1 for 3 min 20 s, because of tool_outside_grant by request r-1",
      "score    98.1 (quarantine)",
      "marks    warning 3, left below 1.5; quarantine 100, left below 25",
      "  CAUSE               POINTS  EVENTS  LAST            IN FULL FOR  THEN HALVES EVERY",
      "  tool_outside_grant  98.1    1       3 min 20 s ago  1 min        2 min",
      "budget   day:2026-11-22: $8.20 of $10.00 spent (82.0 %); warning from 80 %, throttle from 95 %, block at all of it",
      "others   other nodes report block",
      "kills by itself for content_high",
      "",
      "what lifts it",
      "  time      without a new offence: warning in 3 min 40 s, normal in 15 min",
      "  operator  altrace standing t/a --lift (score to 0, level to warning)",
      "  budget    a top-up: altrace budget top-up agent/t/a <window> <unit> <limit>",
      "  budget    the end of its window, in 12 h",
      "  others    the end of what those nodes report, or the operator",
    ].join("\n"),
  );
});

test("a killed agent is told who undoes that, and a block of policy's that no time ends it", () => {
  const killed = { standing: Standing.KILL, killedBy: ["team/t"], node: "n", agent: "t/a" };
  expect(linesOf(killed)).toContain("kill      an operator: altrace revive team/t");
  const kept = { standing: Standing.BLOCK, level: Standing.BLOCK, needsOperator: true };
  expect(linesOf({ ...kept, agent: "t/a" })).toContain("policy leaves this block to an operator");
  const due = { ...kept, killFor: "content_high" };
  expect(linesOf(due)).toContain("asked of the mesh because of content_high");
});

test("whoever stands at normal is told that nothing holds it", () => {
  const text = linesOf({ agent: "t/a", node: "n", standing: Standing.NORMAL, cause: "none" });
  expect(text).toContain("t/a stands at normal on n\n");
  expect(text).toContain("nothing needs to");
});

test("over the mesh: every node that holds leases or reports, and what is spent in all", () => {
  const agent = create(MeshAgentSchema, {
    agent: "t/a",
    standing: Standing.KILL,
    killedBy: ["agent/t/a"],
    budget: [{ ...usd, spent: 0n }],
    nodes: [
      {
        node: "n1",
        live: true,
        leases: 2,
        leased: { usdMicros: 1_500_000n },
        standing: Standing.NORMAL,
      },
      {
        node: "n2",
        standing: Standing.BLOCK,
        cause: "content_high",
        scoreMilli: 300_000n,
        reportedAgoMs: 2_400n,
      },
    ],
  });
  expect(meshLines(agent)).toEqual([
    "over the mesh: kill, killed by agent/t/a",
    "  NODE         STANDING  CAUSE         SCORE  LEASES  LENT   SPENT OF IT  REPORTED",
    "  n1           normal                         2       $1.50  $0.00",
    "  n2 (silent)  block     content_high  300    0       $0.00  $0.00        2 s ago",
    "  budget   day:2026-11-22: $0.00 of $10.00 spent (0.0 %)",
  ]);
});

test.each([
  [0, "0 s"],
  [-5, "0 s"],
  [999, "1 s"],
  [59_000, "59 s"],
  [60_000, "1 min"],
  [3_661_000, "1 h 1 min"],
  [90_000_000, "1 d 1 h"],
])("%d ms are %s", (ms, text) => {
  expect(span(ms)).toBe(text);
});
