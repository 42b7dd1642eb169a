import { describe, expect, test } from "vitest";
import { judgeName } from "../../../node/judge-name.ts";
import { createTable, setOpenUntilNs } from "../../../node/table/table.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { grant } from "../../support/builders.ts";

const HOSTS = ["api.openai.com", "*.example.com", "db.example.org:5432"];

function judgeOf(hosts = HOSTS) {
  const clock = twinClock();
  const table = createTable({ rows: 16, loops: 1, scopes: 16, writers: 1, proofs: 64 });
  setOpenUntilNs(table, clock.monoNs() + 1_000_000_000n);
  const agents = new Map([["research/worker-1", grant({ hosts })]]);
  const world = {
    clock,
    table,
    placement: {
      agentAt: (address: string) => (address === "10.0.0.1" ? "research/worker-1" : undefined),
    },
    policyOf: (): CompiledPolicy | undefined => ({ agents }) as unknown as CompiledPolicy,
  };
  return {
    world,
    clock,
    judge: (name: string, source = "10.0.0.1") => judgeName(source, name, world),
  };
}

describe("a name that a captured agent asks for", () => {
  test("is known to it when a grant covers it, on whatever port", () => {
    const { judge } = judgeOf();
    for (const name of ["api.openai.com", "a.b.example.com", "db.example.org"])
      expect(judge(name)).toBe("granted");
  });

  test.each(["evil.example", "example.com", "api.openai.com.evil.example", "10.0.0.1", ""])(
    "%j is unknown without a grant",
    (name) => {
      expect(judgeOf().judge(name)).toBe("unknown");
    },
  );

  test("is not told to a stranger", () => {
    expect(judgeOf().judge("api.openai.com", "10.0.0.2")).toBe("refused");
  });

  test("is not told by a node that is closed, or has no policy", () => {
    const { judge, clock, world } = judgeOf();
    world.policyOf = () => undefined;
    expect(judge("api.openai.com")).toBe("unavailable");
    const closed = judgeOf();
    closed.clock.advance(1_001);
    expect(closed.judge("api.openai.com")).toBe("unavailable");
    expect(clock.pendingTimers).toBe(0);
  });
});
