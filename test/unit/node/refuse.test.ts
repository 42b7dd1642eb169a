import { describe, expect, test } from "vitest";
import { decide } from "../../../node/decision/decide.ts";
import type { Facts } from "../../../node/decision/facts.ts";
import type { RefusedVerdict } from "../../../node/hold.ts";
import { refuse } from "../../../node/refuse.ts";
import { REASONS } from "../../../proto/reasons.ts";
import { facts, grant } from "../../support/builders.ts";
import { headerOf, LoopWorld, REQUEST_ID, recorded } from "./loop-world.ts";

function refused(over: Partial<Facts>): {
  readonly asked: Facts;
  readonly verdict: RefusedVerdict;
} {
  const asked = facts(over);
  const verdict = decide(asked);
  if (verdict.refusal === undefined) throw new Error("the chain allowed it");
  return { asked, verdict };
}

describe("refuse", () => {
  test("writes the record, tells the actor and answers in the dialect, in this order", () => {
    const world = new LoopWorld();
    const asked = world.asked();
    const { asked: seen, verdict } = refused({ grant: grant({ models: [] }) });
    let answeredBefore: boolean | undefined;
    world.onAppend = () => {
      answeredBefore = recorded(asked).answered !== undefined;
    };
    refuse(asked, seen, verdict, world.loop);
    expect(answeredBefore).toBe(false);
    expect(world.decisions).toMatchObject([{ dec: "deny", st: 9, rc: "model_not_granted" }]);
    expect(world.events).toMatchObject([
      { agentId: "research/worker-1", allowed: false, stage: 9, cause: "refusal" },
    ]);
    const { answered } = recorded(asked);
    expect(answered?.status).toBe(403);
    const headers = answered?.headers ?? [];
    expect(headerOf(headers, "x-request-id")).toBe(REQUEST_ID);
    expect(headerOf(headers, "x-altrace-reason")).toBe("model_not_granted");
    expect(headerOf(headers, "x-altrace-stage")).toBe("model");
    expect(headerOf(headers, "x-should-retry")).toBe("false");
    expect(JSON.parse(Buffer.from(answered?.body ?? []).toString())).toMatchObject({
      error: { code: "model_not_granted" },
    });
  });

  test("a refusal stands though its record cannot be written", () => {
    const world = new LoopWorld();
    const asked = world.asked();
    world.onAppend = () => {
      throw new Error("disk full");
    };
    const { asked: seen, verdict } = refused({ kill: { killedBy: "agent", fresh: true } });
    refuse(asked, seen, verdict, world.loop);
    expect(recorded(asked).answered?.status).toBe(403);
    expect(world.told).toEqual(["record lost", "decided killed_agent"]);
  });

  test("what commit has recorded already is not recorded twice", () => {
    const world = new LoopWorld();
    const { asked: seen, verdict } = refused({ kill: { killedBy: "agent", fresh: true } });
    refuse(world.asked(), seen, { ...verdict, recorded: true }, world.loop);
    expect(world.records).toEqual([]);
    expect(world.events).toHaveLength(1);
  });

  test("a refusal of an unknown source is nobody's event, and says nothing of a standing", () => {
    const world = new LoopWorld();
    const missing = { missing: "key_unknown" } as const;
    const asked = world.asked({ identity: missing, row: undefined });
    const { asked: seen, verdict } = refused({ identity: missing });
    refuse(asked, seen, verdict, world.loop);
    expect(world.events).toEqual([]);
    expect(world.decisions).toHaveLength(1);
    expect(headerOf(recorded(asked).answered?.headers ?? [], "x-altrace-standing")).toBeUndefined();
  });

  test("an unknown route is answered without a dialect", () => {
    const world = new LoopWorld();
    const missing = { missing: "route_unknown" } as const;
    const asked = world.asked({ found: missing, request: missing });
    const { asked: seen, verdict } = refused({ request: missing });
    refuse(asked, seen, verdict, world.loop);
    expect(recorded(asked).answered?.status).toBe(404);
  });

  test("what fits and when to come back are told to the caller", () => {
    const world = new LoopWorld();
    const asked = world.asked();
    const base = decide(facts());
    const refusal = {
      reason: "budget_exhausted" as const,
      stage: 14,
      detail: "at most 300 output tokens fit",
    };
    const stages = "PPPPPPPPPSPPPD";
    refuse(asked, facts(), { ...base, stages, refusal }, world.loop);
    const body = Buffer.from(recorded(asked).answered?.body ?? []).toString();
    expect(JSON.parse(body).error.message).toContain(
      `${REASONS.budget_exhausted.developer} (at most 300 output tokens fit)`,
    );
    expect(recorded(asked).answered?.status).toBe(402);

    const later = world.asked();
    const tooLarge = facts({
      grant: grant({ rate: [{ metric: "tokens", amount: 10, windowMs: 1_000, burst: 999 }] }),
    });
    const large = world.asked();
    refuse(large, tooLarge, decide(tooLarge), world.loop);
    const told = recorded(large).answered;
    expect([told?.status, headerOf(told?.headers ?? [], "x-should-retry")]).toEqual([429, "false"]);
    expect(headerOf(told?.headers ?? [], "retry-after")).toBeUndefined();
    const limited = { reason: "rate_requests" as const, stage: 13, retryAfterMs: 1_500 };
    refuse(later, facts(), { ...base, stages: "PPPPPPPPPSPPD-", refusal: limited }, world.loop);
    const headers = recorded(later).answered?.headers ?? [];
    expect(headerOf(headers, "retry-after-ms")).toBe("1500");
  });
});
