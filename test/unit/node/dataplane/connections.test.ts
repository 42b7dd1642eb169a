import { describe, expect, test } from "vitest";
import {
  Connections,
  LISTED_MAX,
  type OpenExchange,
} from "../../../../node/dataplane/connections.ts";
import type { Cut } from "../../../../node/dataplane/exchange.ts";
import { CUT_FLUSH_MS, CUTS_PER_TURN } from "../../../../node/dataplane/teardown.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const CONTRACT = "c".repeat(43);

/** An exchange without a socket; it closes when the test says so. */
class FakeExchange implements OpenExchange {
  readonly requestId: string;
  readonly cuts: Cut[] = [];
  resets = 0;
  open = true;
  carries = false;
  /** Levels of the ladder at which it may not go on. */
  ends: readonly string[] = [];
  onCut: (() => void) | undefined;

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  isOpen(): boolean {
    return this.open;
  }

  isCarrier(): boolean {
    return this.carries;
  }

  endsAt(level: string): boolean {
    return this.ends.includes(level);
  }

  cutFromOutside(cut: Cut): void {
    this.cuts.push(cut);
    this.onCut?.();
  }

  reset(): void {
    this.resets++;
  }

  info() {
    return { requestId: this.requestId } as ReturnType<OpenExchange["info"]>;
  }
}

function world() {
  const clock = twinClock();
  const faults: unknown[] = [];
  const connections = new Connections({ clock, onFault: (error) => faults.push(error) });
  const add = (agentId?: string, contractId?: string) => {
    const exchange = new FakeExchange(`${agentId}-${connections.count()}`);
    connections.register(exchange);
    if (agentId !== undefined) connections.claim(exchange, agentId, contractId);
    return exchange;
  };
  return { clock, faults, connections, add };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("a cut reaches what its scope covers and nothing else", () => {
  const cutsAfter = async (by: Parameters<Connections["cutScope"]>[0], scope: string) => {
    const { connections, add } = world();
    const exchanges = {
      worker: add("red/worker", CONTRACT),
      other: add("red/other"),
      blue: add("blue/worker"),
      unclaimed: add(),
    };
    void connections.cutScope(by, scope);
    await nextTurn();
    return Object.entries(exchanges)
      .filter(([, exchange]) => exchange.cuts.length > 0)
      .map(([name]) => name);
  };

  test("agent", async () => {
    expect(await cutsAfter("agent", "agent/red/worker")).toEqual(["worker"]);
  });
  test("team", async () => {
    expect(await cutsAfter("team", "team/red")).toEqual(["worker", "other"]);
  });
  test("contract", async () => {
    expect(await cutsAfter("contract", `contract/${CONTRACT}`)).toEqual(["worker"]);
  });
  test("global, the unclaimed included", async () => {
    expect(await cutsAfter("global", "global")).toEqual(["worker", "other", "blue", "unclaimed"]);
  });
  test("an agent of no exchange", async () => {
    expect(await cutsAfter("agent", "agent/red/nobody")).toEqual([]);
  });
  test("a level of the ladder, of what may not go on at it", async () => {
    const { connections, add } = world();
    const tunnel = add("red/worker");
    const toolStream = add("red/worker");
    const stream = add("red/worker");
    const other = add("red/other");
    tunnel.ends = ["quarantine", "block"];
    toolStream.ends = ["quarantine"];
    other.ends = ["quarantine", "block"];
    void connections.cutAtLevel("red/worker", "quarantine");
    await nextTurn();
    const quarantined = [{ by: "reason", reason: "quarantined" }];
    expect([tunnel.cuts, toolStream.cuts]).toEqual([quarantined, quarantined]);
    expect([stream.cuts, other.cuts]).toEqual([[], []]);
    void connections.cutAtLevel("red/worker", "block");
    await nextTurn();
    expect([toolStream.cuts.length, stream.cuts.length]).toEqual([1, 0]);
    void connections.cutAtLevel("red/nobody", "block");
  });
  test("a scope that cannot be cut is a bug of ours", async () => {
    const { connections } = world();
    const cut = connections.cutScope("agent", "policy");
    await expect(cut).rejects.toThrow("not a scope that can be cut");
  });
});

describe("R2: claimed after the cell, or cut by the kill", () => {
  test("an exchange that claims before the cut is cut, with the scope that was killed", async () => {
    const { connections, add } = world();
    const exchange = add();
    connections.claim(exchange, "red/worker", undefined);
    void connections.cutScope("team", "team/red");
    expect(exchange.cuts).toEqual([{ by: "team" }]);
  });

  test.each([
    ["agent", "agent/red/lead", { by: "agent", isGated: true }, { by: "contract" }],
    ["contract", `contract/${CONTRACT}`, undefined, { by: "contract", isGated: true }],
  ] as const)("of an %s, what runs under all contracts below it, each once", (...of) => {
    const [by, scope, ownCut, belowCut] = of;
    const { connections, add } = world();
    const lower = "d".repeat(43);
    const own = add("red/lead");
    const below = [add("red/worker", CONTRACT), add("red/worker", lower)];
    const other = add("red/worker");
    void connections.cutScope(by, scope, { contracts: [CONTRACT, lower], isGated: true });
    expect(own.cuts).toEqual(ownCut === undefined ? [] : [ownCut]);
    expect(below.map(({ cuts }) => cuts)).toEqual([[belowCut], [belowCut]]);
    expect(other.cuts).toEqual([]);
  });

  test("one that claims after the cut is left to the cells", async () => {
    const { connections, add } = world();
    const exchange = add();
    expect(await connections.cutScope("agent", "agent/red/worker")).toMatchObject({ count: 0 });
    connections.claim(exchange, "red/worker", undefined);
    expect(exchange.cuts).toEqual([]);
  });

  test("a second claim changes nothing", async () => {
    const { connections, add } = world();
    const exchange = add("red/worker");
    connections.claim(exchange, "blue/worker", undefined);
    expect([connections.countOf("red/worker"), connections.countOf("blue/worker")]).toEqual([1, 0]);
  });

  test("a closed exchange that claims is not kept", () => {
    const { connections, add } = world();
    const exchange = add();
    connections.remove(exchange);
    connections.claim(exchange, "red/worker", CONTRACT);
    expect([connections.count(), connections.countOf("red/worker")]).toEqual([0, 0]);
  });
});

describe("many cuts", () => {
  test(`go ${CUTS_PER_TURN} a turn, the first in the turn of the kill`, async () => {
    const { connections, add } = world();
    const exchanges = Array.from({ length: 3 * CUTS_PER_TURN + 1 }, () => add("red/worker"));
    const cutSoFar = () => exchanges.filter((exchange) => exchange.cuts.length > 0).length;
    void connections.cutScope("agent", "agent/red/worker");
    const seen = [cutSoFar()];
    for (let turn = 0; turn < 4; turn++) {
      await nextTurn();
      seen.push(cutSoFar());
    }
    expect(seen).toEqual([10, 20, 30, 31, 31]);
  });

  test("resolve with the count and the time of the last close", async () => {
    const { clock, connections, add } = world();
    const [first, second] = [add("red/worker"), add("red/worker")];
    let result: unknown;
    void connections.cutScope("agent", "agent/red/worker").then((value) => {
      result = value;
    });
    clock.advance(5);
    connections.remove(first);
    await nextTurn();
    expect(result).toBeUndefined();
    clock.advance(7);
    const lastClosedNs = clock.monoNs();
    connections.remove(second);
    clock.advance(1);
    await nextTurn();
    expect(result).toEqual({ count: 2, lastClosedNs });
  });

  test(`are reset when they still stand after ${CUT_FLUSH_MS} ms, ${CUTS_PER_TURN} a turn`, async () => {
    const { clock, connections, add } = world();
    const exchanges = Array.from({ length: CUTS_PER_TURN + 2 }, () => add("red/worker"));
    void connections.closeAll({ by: "reason", reason: "mesh_stale" });
    await nextTurn();
    connections.remove(exchanges[0] as FakeExchange);
    const resets = () => exchanges.filter((exchange) => exchange.resets > 0).length;
    clock.advance(CUT_FLUSH_MS - 1);
    await nextTurn();
    expect(resets()).toBe(0);
    clock.advance(1);
    await nextTurn();
    expect(resets()).toBe(CUTS_PER_TURN);
    await nextTurn();
    expect(resets()).toBe(CUTS_PER_TURN + 1);
    expect(exchanges[0]?.resets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test("of two kills at once each resolve when their own are closed", async () => {
    const { connections, add } = world();
    const [red, blue] = [add("red/worker"), add("blue/worker")];
    const resolved: string[] = [];
    void connections.cutScope("team", "team/red").then(() => resolved.push("red"));
    void connections.cutScope("global", "global").then(() => resolved.push("global"));
    connections.remove(red);
    await nextTurn();
    expect(resolved).toEqual(["red"]);
    connections.remove(blue);
    await nextTurn();
    expect(resolved).toEqual(["red", "global"]);
  });

  test("of a gated kill reach what runs within a connection before the connection", async () => {
    const { connections, add } = world();
    const told: FakeExchange[] = [];
    const all = Array.from({ length: CUTS_PER_TURN + 2 }, () => add("red/worker"));
    for (const one of all) one.onCut = () => told.push(one);
    const [first] = all as [FakeExchange];
    first.carries = true;
    void connections.cutScope("agent", "agent/red/worker", { isGated: true });
    while (told.length < all.length) await nextTurn();
    expect(told.at(-1)).toBe(first);
    expect(first.cuts).toEqual([{ by: "agent", isGated: true }]);
  });

  test("leave alone what is already refused", async () => {
    const { connections, add } = world();
    const refused = add("red/worker");
    refused.open = false;
    const { count } = await connections.cutScope("agent", "agent/red/worker");
    expect([count, refused.cuts]).toEqual([0, []]);
  });

  test("go on behind an exchange whose code throws, and reset that one", async () => {
    const { connections, add, faults } = world();
    const [bad, good] = [add("red/worker"), add("red/worker")];
    bad.onCut = () => {
      throw new Error("bug");
    };
    void connections.cutScope("agent", "agent/red/worker");
    expect([bad.resets, good.cuts.length, faults.length]).toEqual([1, 1, 1]);
  });

  test("do not reach what closed while it waited for its turn", async () => {
    const { connections, add } = world();
    const exchanges = Array.from({ length: CUTS_PER_TURN + 1 }, () => add("red/worker"));
    const last = exchanges.at(-1) as FakeExchange;
    void connections.cutScope("agent", "agent/red/worker");
    connections.remove(last);
    await nextTurn();
    expect(last.cuts).toEqual([]);
  });
});

describe("counts", () => {
  test("of an agent's exchanges follow claims and ends", () => {
    const { connections, add } = world();
    const exchanges = [add("red/worker", CONTRACT), add("red/worker"), add("red/other")];
    expect([connections.countOf("red/worker"), connections.countOf("red/other")]).toEqual([2, 1]);
    for (const exchange of exchanges) connections.remove(exchange);
    for (const exchange of exchanges) connections.remove(exchange);
    expect([connections.count(), connections.countOf("red/worker")]).toEqual([0, 0]);
  });

  test("of bodies that are read stop at the agent's bound", () => {
    const { connections, add } = world();
    const exchange = add("red/worker");
    expect([1, 2, 3].map(() => connections.startWaiting("red/worker", 2))).toEqual([
      true,
      true,
      false,
    ]);
    expect(connections.startWaiting("red/other", 1)).toBe(true);
    connections.remove(exchange);
    expect(connections.waitingBodies("red/worker")).toBe(2);
    connections.stopWaiting("red/worker");
    expect(connections.startWaiting("red/worker", 2)).toBe(true);
    for (let i = 0; i < 3; i++) connections.stopWaiting("red/worker");
    expect(connections.waitingBodies("red/worker")).toBe(0);
  });

  test("of very many agents that came and went leave the others' as they are", async () => {
    const { connections, add } = world();
    const stays = add("red/stays");
    for (let i = 0; i < 6_000; i++) connections.remove(add(`red/a${i}`));
    const late = add("red/a1");
    void connections.cutScope("team", "team/red");
    expect([stays.cuts.length, late.cuts.length]).toEqual([1, 1]);
    connections.remove(stays);
    expect([connections.countOf("red/stays"), connections.countOf("red/a1")]).toEqual([0, 1]);
  });

  test("of a list stop at listed_max, the longest open first", () => {
    const { connections, add } = world();
    const first = add("red/worker");
    for (let i = 0; i < LISTED_MAX + 5; i++) add("red/worker");
    const list = connections.list(0n);
    expect([list.length, list[0]?.requestId]).toEqual([LISTED_MAX, first.requestId]);
  });
});
