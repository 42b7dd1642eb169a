import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { AskMesh } from "../../../node/ask-mesh.ts";
import type { Cost } from "../../../node/decision/facts.ts";
import { ledgerLink } from "../../../node/ledger-link.ts";
import { RATE_OF_NOBODY } from "../../../node/rate-shares.ts";
import { timeOfUuidV7 } from "../../../ports/random.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import {
  AmountsSchema,
  LeaseReplySchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
  RateReplySchema,
  RefusedSchema,
  SettleReplySchema,
  Standing,
  StandingReplySchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { Unit } from "../../../proto/gen/altrace/v1/record_pb.ts";

const A = "agent/t/a";
const usd = (usdMicros: bigint): Cost => ({ usdMicros, tokens: 0n, calls: 0n });

/** A control plane that answers what it is told to, in order; undefined is no answer. */
function linkWith(...answers: (NodeReply["body"] | undefined)[]) {
  const asked: NodeRequest[] = [];
  const clock = twinClock();
  const news: unknown[][] = [];
  const bars: unknown[] = [];
  const ask: AskMesh = async (_method, bytes) => {
    asked.push(fromBinary(NodeRequestSchema, bytes));
    const body = answers.shift();
    if (body === undefined) return undefined;
    return { bytes: toBinary(NodeReplySchema, create(NodeReplySchema, { body })), kid: "c1" };
  };
  const link = ledgerLink({
    ask,
    node: "n1",
    bootId: "b1",
    clock,
    random: twinRandom(3),
    policyVersion: () => 7,
    onNews: (...one) => news.push(one),
    onBarred: (bar) => bars.push(bar?.reason),
  });
  return { link, asked, news, clock, bars };
}

const granted = (usdMicros: bigint, unlimited: Unit[] = []): NodeReply["body"] => ({
  case: "lease",
  value: create(LeaseReplySchema, {
    leaseId: `l${usdMicros}`,
    epoch: 4n,
    account: A,
    amount: create(AmountsSchema, usd(usdMicros)),
    ttlMs: 30_000n,
    unlimited,
  }),
});
const refused = (reason: string): NodeReply["body"] => ({
  case: "refused",
  value: create(RefusedSchema, { reason, message: "no" }),
});

describe("the link to the ledger", () => {
  test("carries a question and its answer whole", async () => {
    const { link, asked } = linkWith(granted(9n, [Unit.TOKENS, Unit.CALLS]));
    expect(await link.lease(A, usd(5n), usd(9n))).toEqual({
      outcome: "granted",
      leaseId: "l9",
      epoch: 4,
      amount: usd(9n),
      ttlMs: 30_000,
      unlimited: { usdMicros: 0n, tokens: 1n, calls: 1n },
    });
    expect(asked[0]).toMatchObject({ node: "n1", bootId: "b1" });
    expect(asked[0]?.body).toMatchObject({
      value: { account: A, need: { usdMicros: 5n }, policyV: 7n },
    });
  });

  test.each([
    ["budget_exhausted", "exhausted"],
    ["overrun_exhausted", "exhausted"],
    ["account_unknown", "unavailable"],
    ["policy_unread", "unavailable"],
    ["killed_agent", "unavailable"],
    ["not_placed", "unavailable"],
    ["boot_ended", "unavailable"],
  ])("%s is an answer: %s, and the next question is a new one", async (reason, answer) => {
    const { link, asked } = linkWith(refused(reason), granted(9n));
    expect(await link.lease(A, usd(5n), usd(9n))).toMatchObject({ outcome: answer });
    expect(await link.again(A)).toBeUndefined();
    expect(await link.lease(A, usd(5n), usd(9n))).toMatchObject({ leaseId: "l9" });
    expect(new Set(asked.map(({ requestId }) => requestId)).size).toBe(2);
  });

  test.each([
    ["no answer", undefined],
    ["a ledger that could not be written", refused("budget_unavailable")],
    ["a coordinator that failed", refused("unavailable")],
    [
      "an answer to something else",
      { case: "settle" as const, value: create(SettleReplySchema, {}) },
    ],
  ])("after %s the same question is put again, before any other", async (_, lost) => {
    const { link, asked } = linkWith(lost, granted(7n));
    expect(await link.lease(A, usd(5n), usd(7n))).toMatchObject({ outcome: "unavailable" });
    // What it finds was granted a while ago, so it does not say what is limited now.
    expect(await link.lease(A, usd(100n), usd(100n))).toMatchObject({
      leaseId: "l7",
      unlimited: undefined,
    });
    expect(asked).toHaveLength(2);
    expect(asked[1]).toEqual(asked[0]);
  });

  test("what the coordinator has against the node itself is told once, and its end", async () => {
    const rate = { case: "rate" as const, value: create(RateReplySchema, { shares: {} }) };
    const { link, bars } = linkWith(
      ...[refused("clock_off"), granted(1n), refused("clock_off"), rate],
      ...[refused("boot_ended"), refused("boot_ended"), undefined, granted(1n)],
    );
    await link.rate(RATE_OF_NOBODY);
    await link.lease(A, usd(1n), usd(1n));
    await link.rate(RATE_OF_NOBODY);
    expect(bars).toEqual(["clock_off"]);
    await link.rate(RATE_OF_NOBODY);
    expect(bars).toEqual(["clock_off", undefined]);
    for (let i = 0; i < 3; i++) await link.lease(A, usd(1n), usd(1n));
    expect(bars.slice(2)).toEqual(["boot_ended"]);
    await link.lease(A, usd(1n), usd(1n));
    expect(bars.slice(2)).toEqual(["boot_ended", undefined]);
  });

  test("a question that was refused when it was put again makes room for the new one", async () => {
    const { link, asked } = linkWith(undefined, refused("budget_exhausted"), granted(2n));
    await link.lease(A, usd(50n), usd(50n));
    expect(await link.lease(A, usd(2n), usd(2n))).toMatchObject({ leaseId: "l2" });
    expect(asked.map(({ requestId }) => requestId)[2]).not.toBe(asked[0]?.requestId);
  });

  test("a question that the ledger may have granted and forgotten is put under another id, and a later one", async () => {
    const answers = [undefined, refused("request_forgotten"), granted(2n), granted(3n)];
    const { link, asked, clock } = linkWith(...answers);
    await link.lease(A, usd(2n), usd(2n));
    clock.jumpWall(-3_600_000);
    expect(await link.lease(A, usd(2n), usd(2n))).toMatchObject({ leaseId: "l2" });
    await link.lease(A, usd(3n), usd(3n));
    const [first = "", again, ...later] = asked.map(({ requestId }) => requestId);
    expect(again).toBe(first);
    // Of each id the ledger may forget a lease, and that must be no later than any that follows.
    const times = [first, ...later].map((id) => timeOfUuidV7(id) ?? 0);
    expect(times).toEqual([...new Set(times)].sort());
  });

  test("a coordinator that never decides is not asked the same for ever", async () => {
    const full = () => refused("budget_unavailable");
    const { link } = linkWith(full(), full(), full(), granted(2n));
    for (let i = 0; i < 2; i++)
      expect(await link.lease(A, usd(2n), usd(2n))).toMatchObject({ outcome: "unavailable" });
    expect(await link.lease(A, usd(2n), usd(2n))).toMatchObject({ leaseId: "l2" });
  });

  test("one account's lost question is no other account's", async () => {
    const { link, asked } = linkWith(undefined, granted(3n));
    await link.lease(A, usd(1n), usd(1n));
    expect(await link.again("agent/t/b")).toBeUndefined();
    await link.lease("agent/t/b", usd(3n), usd(3n));
    expect(asked[1]?.requestId).not.toBe(asked[0]?.requestId);
  });

  test.each([
    [
      "settled",
      { case: "settle" as const, value: create(SettleReplySchema, { final: true }) },
      true,
    ],
    ["a lease that the ledger does not know", refused("lease_unknown"), true],
    ["an agent that was moved away", refused("not_placed"), true],
    ["more than was lent", refused("settle_above_lease"), true],
    ["a ledger that could not be written", refused("budget_unavailable"), false],
    ["a coordinator that failed", refused("unavailable"), false],
    ["no answer", undefined, false],
  ])("a settlement answered by %s has arrived: %s", async (_, answer, hasArrived) => {
    const { link } = linkWith(answer);
    const settlement = { leaseId: "l1", epoch: 4, spent: usd(5n), final: true };
    expect(await link.settle(settlement)).toBe(hasArrived);
  });

  const report = {
    agentId: "t/a",
    standing: "quarantine",
    standsAt: "block",
    cause: "content_high",
    scoreMilli: 100_000,
    askKill: true,
  } as const;

  test("a standing goes out, and what the mesh knows comes back as news", async () => {
    const uses = [
      { unit: Unit.USD_MICROS, window: "total", limit: 10n, spent: 9n, endsAtMs: 0n },
      // Of a unit that this version does not know, and beyond what any limit is.
      { unit: 99 as Unit, window: "total", limit: 10n, spent: 9n, endsAtMs: 0n },
      { unit: Unit.CALLS, window: "total", limit: 2n ** 60n, spent: 9n, endsAtMs: 0n },
    ];
    const answer = (others: Standing, hasUses: boolean): NodeReply["body"] => ({
      case: "standing",
      value: create(StandingReplySchema, { news: { others, uses, hasUses } }),
    });
    const { link, asked, news } = linkWith(
      answer(Standing.BLOCK, true),
      answer(Standing.KILL, false),
    );
    expect(await link.standing(report)).toBe(true);
    expect(asked[0]?.body).toMatchObject({
      value: {
        agent: "t/a",
        standing: Standing.QUARANTINE,
        standsAt: Standing.BLOCK,
        cause: "content_high",
        scoreMilli: 100_000n,
        askKill: true,
      },
    });
    expect(await link.standing(report)).toBe(true);
    const use = { unit: "usdMicros", window: "total", limit: 10, spent: 9, endsAtMs: 0 };
    expect(news).toEqual([
      ["agent/t/a", { others: "block", uses: [use] }],
      // That it is killed the scope cells tell; that its rows cannot be read says nothing of them.
      ["agent/t/a", { others: "normal", uses: undefined }],
    ]);
  });

  test("a report that nobody answered, or that was refused, was not heard", async () => {
    const { link, news } = linkWith(undefined, refused("auto_kill_limited"));
    expect(await link.standing(report)).toBe(false);
    expect(await link.standing(report)).toBe(false);
    expect(news).toEqual([]);
  });
});
