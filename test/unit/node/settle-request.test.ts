import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../node/dataplane/client-leg.ts";
import type { Asked } from "../../../node/gather.ts";
import { hold } from "../../../node/hold.ts";
import { relayAndSettle } from "../../../node/relay-and-settle.ts";
import { settleRequest } from "../../../node/settle-request.ts";
import { setUnlimitedUnits, UNIT } from "../../../node/table/standing.ts";
import { grant } from "../../support/builders.ts";
import { LoopWorld } from "./loop-world.ts";

const usage = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
});

const DONE: Outcome = {
  kind: "done",
  reason: undefined,
  rule: undefined,
  usage: usage(100, 200),
  outputTextBytes: 800,
  scannedBytes: 800,
  hits: [],
  status: 200,
  sent: true,
};

/** A world in which one request is held: 2,000 output tokens at most, 10,000 lent of everything. */
async function allowed(world = new LoopWorld()) {
  world.lend({ usdMicros: 10_000n, tokens: 10_000n, calls: 10n }, 10_000n);
  const before = world.left;
  const asked = world.asked({ maxOutputTokens: 2_000 });
  const held = await hold(asked, world.loop);
  if (!("permit" in held)) throw new Error("not allowed");
  world.records.length = 0;
  return { world, asked, held, before };
}

function end(of: Awaited<ReturnType<typeof allowed>>, outcome: Partial<Outcome>): void {
  settleRequest(of.asked, of.held, { ...DONE, ...outcome }, of.world.loop);
}

describe("settle a request", () => {
  test("charges what the provider counted, and gives the rest back", async () => {
    const of = await allowed();
    end(of, {});
    // 100 x 0.25 + 200 x 2 micro-dollars.
    expect(of.world.left).toEqual({
      usdMicros: of.before.usdMicros - 425n,
      tokens: of.before.tokens - 300n,
      calls: of.before.calls - 1n,
      overrunMicros: of.before.overrunMicros,
    });
    expect(of.world.settled).toMatchObject([
      { spent: { usdMicros: 425n, tokens: 300n, calls: 1n }, overrunSpentMicros: 0n },
    ]);
    expect(of.world.settled[0]?.uncovered).toBeUndefined();
    expect(of.world.settlements).toMatchObject([
      {
        rc: "ok",
        settled: { usd_u: 425, tok: 300, calls: 1, over_u: 0 },
        in: { n: 800, scanned: 800 },
      },
    ]);
    expect(of.world.told).toContain("used openai/gpt-5-mini");
  });

  test("what was never sent is given back whole, rate included", async () => {
    const granted = grant({
      rate: [{ metric: "requests", amount: 1, windowMs: 60_000, burst: 1 }],
    });
    const of = await allowed(new LoopWorld({ agents: new Map([[granted.agentId, granted]]) }));
    end(of, {
      kind: "upstream_failed",
      reason: "upstream_unreachable",
      sent: false,
      usage: undefined,
    });
    expect(of.world.left).toEqual(of.before);
    expect(of.world.settled).toMatchObject([{ spent: { usdMicros: 0n, tokens: 0n, calls: 0n } }]);
    expect("permit" in (await hold(of.world.asked(), of.world.loop))).toBe(true);
  });

  test.each<[string, Partial<Outcome>]>([
    ["a client that is gone", { kind: "client_gone", reason: "client_gone", usage: undefined }],
    [
      "an answer that broke off",
      { kind: "upstream_failed", reason: "upstream_failed", usage: undefined },
    ],
    [
      "an answer that was cut",
      { kind: "cut", reason: "content_cut", rule: "no-secrets", usage: usage(100, 1) },
    ],
    ["an answer without a count", { usage: undefined }],
    ["a provider's own fault", { status: 500, usage: undefined }],
  ])("%s is charged in full", async (_, outcome) => {
    const of = await allowed();
    end(of, outcome);
    const { cost } = of.held.reserved.charges;
    expect(of.world.left).toEqual({
      usdMicros: of.before.usdMicros - cost.usdMicros,
      tokens: of.before.tokens - cost.tokens,
      calls: of.before.calls - 1n,
      overrunMicros: of.before.overrunMicros,
    });
  });

  test("a request that the provider rejected costs the call alone", async () => {
    const of = await allowed();
    end(of, { status: 400, usage: undefined });
    expect(of.world.left).toEqual({ ...of.before, calls: of.before.calls - 1n });
  });

  test("a bill above the hold is charged to overrun, raises distrust, and is told", async () => {
    const of = await allowed();
    const { usdMicros } = of.held.reserved.charges.cost;
    end(of, { usage: usage(0, 4_000) });
    const over = 8_000n - usdMicros;
    expect(of.world.left.usdMicros).toBe(of.before.usdMicros - usdMicros);
    expect(of.world.left.overrunMicros).toBe(of.before.overrunMicros - over);
    const [item] = of.world.settled;
    expect(item?.overrunSpentMicros).toBe(over);
    expect(item?.distrustMilli).toBe(Math.ceil(8_000_000 / Number(usdMicros)));
    expect(of.world.told).toContain("distrusted openai/gpt-5-mini");
    expect(of.world.settlements).toMatchObject([{ settled: { over_u: Number(over) } }]);
  });

  test("only what kept within its hold may be written a little later", async () => {
    const within = await allowed();
    end(within, {});
    expect(within.world.soon).toMatchObject([{ k: "decision" }, { k: "settle" }]);
    const overMoney = await allowed();
    end(overMoney, { usage: usage(0, 4_000) });
    const overTokens = await allowed();
    const { tokens } = overTokens.held.reserved.charges.cost;
    end(overTokens, { usage: usage(Number(tokens) + 1, 0) });
    for (const { world } of [overMoney, overTokens]) {
      expect(world.settlements).toHaveLength(1);
      expect(world.soon).toMatchObject([{ k: "decision" }]);
    }
  });

  test("distrust is told once: what is known already is no news", async () => {
    const of = await allowed();
    of.world.distrust.set("openai/gpt-5-mini", 3_000);
    end(of, { usage: usage(0, 4_000) });
    expect(of.world.settled[0]?.distrustMilli).toBeUndefined();
    expect(of.world.told).not.toContain("distrusted openai/gpt-5-mini");
  });

  test("what nothing in the table can pay is told as such, unit by unit", async () => {
    const of = await allowed();
    end(of, { outputTextBytes: 16, usage: usage(50_000, 1) });
    const { tokens } = of.held.reserved.charges.cost;
    expect(of.world.left.tokens).toBe(0n);
    const beyond = 50_001n - tokens - (of.before.tokens - tokens);
    expect(of.world.settled).toMatchObject([
      { spent: { tokens: 50_001n }, uncovered: { tokens: beyond } },
    ]);
    // The money above the hold is overrun's, and that had enough.
    const over = 12_502n - of.held.reserved.charges.cost.usdMicros;
    expect(of.world.left.overrunMicros).toBe(of.before.overrunMicros - over);
    expect(of.world.settled[0]?.uncovered?.overrunMicros).toBe(0n);
  });

  test("a unit without a limit is charged nowhere", async () => {
    const world = new LoopWorld();
    setUnlimitedUnits(world.table, world.row.row, UNIT.tokens | UNIT.calls);
    const of = await allowed(world);
    end(of, {});
    expect(of.world.left).toMatchObject({ tokens: of.before.tokens, calls: of.before.calls });
    expect(of.world.settled).toMatchObject([{ spent: { usdMicros: 425n, tokens: 0n, calls: 0n } }]);
    expect(of.world.settlements).toMatchObject([{ settled: { tok: 300, calls: 1 } }]);
  });

  test("a cut is on record with its rule, and feeds the ladder", async () => {
    const of = await allowed();
    end(of, { kind: "cut", reason: "tool_call_not_granted", rule: "shell", usage: undefined });
    expect(of.world.decisions).toMatchObject([
      { ph: "response", dec: "deny", st: 10, rc: "tool_call_not_granted", rule: "shell" },
    ]);
    expect(of.world.settlements).toMatchObject([{ rc: "tool_call_not_granted" }]);
    expect(of.world.events).toMatchObject([{ allowed: false, cause: "tool_outside_grant" }]);
  });

  test("a log that cannot be written does not keep the money held", async () => {
    const of = await allowed();
    of.world.onAppend = () => {
      throw new Error("disk full");
    };
    end(of, {});
    expect(of.world.left.usdMicros).toBe(of.before.usdMicros - 425n);
    expect(of.world.settled).toHaveLength(1);
    expect(of.world.told).toContain("record lost");
  });

  test("one record that is lost takes no other with it, and the ladder is told all the same", async () => {
    const of = await allowed();
    of.world.onAppend = ({ k }) => {
      if (k === "decision") throw new Error("no space for this one");
    };
    end(of, { kind: "cut", reason: "tool_call_not_granted", rule: "shell", usage: undefined });
    expect(of.world.told).toContain("record lost");
    expect(of.world.settlements).toMatchObject([{ rc: "tool_call_not_granted" }]);
    expect(of.world.events).toMatchObject([{ cause: "tool_outside_grant" }]);
  });

  test("an answer that was not scanned whole says so in its settlement", async () => {
    const of = await allowed();
    end(of, { scannedBytes: 100 });
    expect(of.world.settlements).toMatchObject([
      { in: { n: 800, scanned: 100, skipped: "incomplete" } },
    ]);
  });
});

describe("a bug while relaying", () => {
  const broken = (of: { asked: Asked; world: LoopWorld }, forward: () => void) =>
    ({
      ...of.world.loop,
      scanners: { of: () => ({ response: [] }) },
      forwarder: { forward },
    }) as unknown as LoopWorld["loop"];

  test("before anything was sent gives the hold back", async () => {
    const of = await allowed();
    const loop = broken(of, () => {
      throw new Error("bug");
    });
    await expect(relayAndSettle(of.asked, of.held, loop)).rejects.toThrow("bug");
    expect(of.world.left).toEqual(of.before);
    expect(of.held.permit.consume()).toBe(false);
    expect(of.world.settlements).toMatchObject([{ rc: "stage_failed" }]);
    expect(loop.live.count).toBe(0);
    expect(loop.holds.count).toBe(0);
  });

  test("after the head was written charges the hold in full", async () => {
    const of = await allowed();
    const loop = broken(of, () => {
      of.held.permit.consume();
      throw new Error("bug");
    });
    await expect(relayAndSettle(of.asked, of.held, loop)).rejects.toThrow("bug");
    const { usdMicros } = of.held.reserved.charges.cost;
    expect(of.world.left.usdMicros).toBe(of.before.usdMicros - usdMicros);
  });
});
