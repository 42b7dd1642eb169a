import { MessageChannel, type MessagePort } from "node:worker_threads";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Cost } from "../../../node/decision/facts.ts";
import {
  type ControlHandlers,
  GATHER_MS,
  ITEMS_PER_MESSAGE_MAX,
  SHOWN_PER_SECOND_MAX,
  TOP_UPS_PENDING_MAX,
} from "../../../node/loop-control-link.ts";
import { LoopKeyCache } from "../../../node/loop-key-cache.ts";
import { createControlLink, createMeshLink } from "../../../node/loop-links.ts";
import {
  RESOLVE_TIMEOUT_MS,
  RESOLVES_AGAIN_MAX,
  RESOLVES_PENDING_MAX,
} from "../../../node/loop-mesh-link.ts";
import type {
  AgentEvent,
  ControlToLoop,
  LoopToControl,
  LoopToMesh,
  MeshToLoop,
  RowGrant,
  SettledItem,
} from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

/** The other thread: keeps what it is sent, and answers when the test says so. */
function otherThread<Received, Sent>(port: MessagePort) {
  const received: Received[] = [];
  port.on("message", (message: Received) => received.push(message));
  return {
    received,
    send: (message: Sent) => port.postMessage(message),
    /** Resolves once `count` messages have come. */
    async got(count: number): Promise<Received[]> {
      while (received.length < count) await turn();
      return received;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Long enough for a message that was sent to have arrived. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

function grantOf(keyGeneration: number, agentId = "red/worker"): RowGrant {
  return {
    row: 7,
    generation: 3,
    keyGeneration,
    agentId,
    keyId: "k1234567",
    contractId: undefined,
    notBeforeMs: 0,
    notAfterMs: 0,
  };
}

describe("the link to the mesh thread", () => {
  function meshWorld() {
    const { port1, port2 } = new MessageChannel();
    const clock = twinClock();
    const mesh = otherThread<LoopToMesh, MeshToLoop>(port2);
    const state = { generation: 5 };
    const cuts: string[] = [];
    const link = createMeshLink({
      port: port1,
      clock,
      keyGeneration: () => state.generation,
      cutScope: async ({ by, scope, isGated }) => {
        cuts.push(`${by} ${scope} ${isGated}`);
        return { count: 3, lastClosedNs: 42n };
      },
    });
    onTestFinished(() => {
      link.close();
      port2.close();
    });
    const resolvedAs = (
      id: number,
      answer: RowGrant | Extract<MeshToLoop, { t: "resolved" }>["refused"],
    ) =>
      mesh.send({
        t: "resolved",
        id,
        grant: typeof answer === "object" ? answer : undefined,
        refused: typeof answer === "object" ? undefined : answer,
      });
    return { link, mesh, clock, state, cuts, resolvedAs };
  }

  test("asks once for a key, and answers from the cache from then on", async () => {
    const { link, mesh, clock, resolvedAs } = meshWorld();
    const asked = [link.resolveKey("aa", "10.0.0.1"), link.resolveKey("aa", "10.0.0.1")];
    const [first] = await mesh.got(1);
    expect(first).toEqual({ t: "resolve", id: 1, keySha256: "aa", source: "10.0.0.1" });
    resolvedAs(1, grantOf(5));
    expect(await Promise.all(asked)).toEqual([grantOf(5), grantOf(5)]);
    expect(link.resolveKey("aa", "10.0.0.2")).toEqual(grantOf(5));
    expect(clock.pendingTimers).toBe(0);
    await settle();
    expect(mesh.received).toHaveLength(1);
  });

  test("drops every answer when key_generation moves", async () => {
    const { link, mesh, state, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    resolvedAs(1, grantOf(5));
    await asked;
    state.generation = 6;
    const again = link.resolveKey("aa", "s");
    expect(again).toBeInstanceOf(Promise);
    await mesh.got(2);
    resolvedAs(2, "key_revoked");
    expect(await again).toBe("key_revoked");
    expect(link.resolveKey("aa", "s")).toBe("key_revoked");
  });

  test("asks again when keys changed while the answer was under way", async () => {
    const { link, mesh, state, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    resolvedAs(1, grantOf(5));
    state.generation = 6;
    await mesh.got(2);
    resolvedAs(2, grantOf(6));
    expect(await asked).toEqual(grantOf(6));
  });

  test(`gives up after asking again ${RESOLVES_AGAIN_MAX} times`, async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    for (let id = 1; id <= RESOLVES_AGAIN_MAX + 1; id++) {
      await mesh.got(id);
      resolvedAs(id, grantOf(4));
    }
    expect(await asked).toBe("identity_unavailable");
    await settle();
    expect(mesh.received).toHaveLength(RESOLVES_AGAIN_MAX + 1);
  });

  test("keeps an unknown key's refusal, but not one that may pass by itself", async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const [unknown, full] = [link.resolveKey("aa", "s"), link.resolveKey("bb", "s")];
    await mesh.got(2);
    resolvedAs(1, "key_unknown");
    resolvedAs(2, "table_full");
    expect([await unknown, await full]).toEqual(["key_unknown", "table_full"]);
    expect(link.resolveKey("aa", "s")).toBe("key_unknown");
    expect(link.resolveKey("bb", "s")).toBeInstanceOf(Promise);
  });

  test("does not keep a refusal that keys changed under", async () => {
    const { link, mesh, state, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    resolvedAs(1, "key_unknown");
    state.generation = 6;
    void link.resolveKey("bb", "s");
    expect(await asked).toBe("key_unknown");
    expect(link.resolveKey("aa", "s")).toBeInstanceOf(Promise);
  });

  test("an answer of neither kind is a refusal", async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    resolvedAs(1, undefined);
    expect(await asked).toBe("identity_unavailable");
  });

  test("asks for itself when another source had used up its look-ups", async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const asked = [link.resolveKey("aa", "10.0.0.1"), link.resolveKey("aa", "10.0.0.2")];
    await mesh.got(1);
    resolvedAs(1, "lookups_exhausted");
    await mesh.got(2);
    resolvedAs(2, grantOf(5));
    expect(await Promise.all(asked)).toEqual(["lookups_exhausted", grantOf(5)]);
  });

  test(`waits ${RESOLVE_TIMEOUT_MS} ms and then refuses; the late answer is nobody's`, async () => {
    const { link, mesh, clock, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    clock.advance(RESOLVE_TIMEOUT_MS);
    expect(await asked).toBe("identity_unavailable");
    resolvedAs(1, grantOf(5));
    await settle();
    expect(link.resolveKey("aa", "s")).toBeInstanceOf(Promise);
    expect(clock.pendingTimers).toBe(1);
  });

  test(`refuses at once when ${RESOLVES_PENDING_MAX} keys are waited for`, async () => {
    const { link, clock } = meshWorld();
    for (let i = 0; i < RESOLVES_PENDING_MAX; i++) void link.resolveKey(`key ${i}`, "s");
    expect(link.resolveKey("one more", "s")).toBe("identity_unavailable");
    expect(link.resolveKey("key 0", "s")).toBeInstanceOf(Promise);
    clock.advance(RESOLVE_TIMEOUT_MS);
    expect(link.resolveKey("one more", "s")).toBeInstanceOf(Promise);
  });

  test("forgets a key whose row turned out to be another's", async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    await mesh.got(1);
    resolvedAs(1, grantOf(5));
    await asked;
    link.forget("aa");
    expect(link.resolveKey("aa", "s")).toBeInstanceOf(Promise);
  });

  test("forgets a key when it is told to, and asks for it again", async () => {
    const { link, mesh, resolvedAs } = meshWorld();
    const asked = link.resolveKey("aa", "10.0.0.1");
    await mesh.got(1);
    resolvedAs(1, grantOf(5));
    await asked;
    mesh.send({ t: "forget", keySha256: "aa" });
    await settle();
    void link.resolveKey("aa", "10.0.0.1");
    expect(await mesh.got(2)).toHaveLength(2);
  });

  test("cuts what it is told to, and says when that is done", async () => {
    const { mesh, cuts } = meshWorld();
    mesh.send({
      t: "cut",
      id: 9,
      by: "team",
      scope: "team/red",
      isGated: true,
      contracts: [],
    });
    expect(await mesh.got(1)).toEqual([{ t: "cut_done", id: 9, count: 3, atNs: 42n }]);
    expect(cuts).toEqual(["team team/red true"]);
  });

  test("lets go of whoever waits when it is closed", async () => {
    const { link } = meshWorld();
    const asked = link.resolveKey("aa", "s");
    link.close();
    expect(await asked).toBe("identity_unavailable");
  });
});

describe("the cache of keys", () => {
  test("keeps what is used and drops what is not, within its bound", () => {
    const cache = new LoopKeyCache({ entriesMax: 8 });
    cache.find("x", 1);
    for (let i = 0; i < 1_000; i++) {
      cache.put(`key ${i}`, "key_unknown", 1);
      cache.put("used", grantOf(1), 1);
      expect(cache.find("used", 1)).toBeDefined();
      expect(cache.size).toBeLessThanOrEqual(8);
    }
    expect(cache.find("key 0", 1)).toBeUndefined();
    expect(cache.find("key 999", 1)).toBe("key_unknown");
  });

  test("moves what is asked for out of the half that is dropped next", () => {
    const cache = new LoopKeyCache({ entriesMax: 4 });
    cache.find("x", 1);
    for (const key of ["used", "b", "c"]) cache.put(key, "key_unknown", 1);
    for (const key of ["d", "e", "f", "g", "h"]) {
      expect(cache.find("used", 1)).toBe("key_unknown");
      cache.put(key, "key_unknown", 1);
    }
    expect(cache.find("used", 1)).toBe("key_unknown");
  });

  test("takes nothing of another generation", () => {
    const cache = new LoopKeyCache({ entriesMax: 8 });
    cache.find("x", 2);
    cache.put("old", grantOf(1), 1);
    expect(cache.find("old", 2)).toBeUndefined();
  });
});

const COST: Cost = { usdMicros: 5n, tokens: 6n, calls: 1n };

describe("the link to the control thread", () => {
  const TOP_UP = {
    row: 7,
    generation: 3,
    agentId: "red/worker",
    contractId: undefined,
    need: COST,
    overrunMicros: 1n,
  };

  function controlWorld(handlers: Partial<ControlHandlers> = {}) {
    const { port1, port2 } = new MessageChannel();
    const clock = twinClock();
    const control = otherThread<LoopToControl, ControlToLoop>(port2);
    const calls: unknown[] = [];
    const link = createControlLink({
      port: port1,
      clock,
      reserveWaitMaxMs: () => 250,
      handlers: {
        inspection: () => undefined,
        policy: (version, bundle) => void calls.push(["policy", version, bundle.length]),
        standing: (agentId, standing) => void calls.push(["standing", agentId, standing]),
        drain: (deadlineMs) => void calls.push(["drain", deadlineMs]),
        connections: () => [],
        holds: () => [],
        openByAgent: () => [],
        metrics: async () => ({ one: 1 }),
        ...handlers,
      },
    });
    onTestFinished(() => {
      link.close();
      port2.close();
    });
    return { link, control, clock, calls };
  }

  const settledItem = (requestId: string): SettledItem => ({
    requestId,
    agentId: "red/worker",
    row: Number(requestId),
    generation: 3,
    held: COST,
    spent: COST,
    overrunHeldMicros: 3n,
    overrunSpentMicros: 0n,
    model: "demo/small",
  });

  const event = (requestId: string, cause?: AgentEvent["cause"]): AgentEvent => ({
    agentId: "red/worker",
    requestId,
    atMs: 0,
    standing: "normal",
    allowed: false,
    stage: 3,
    reason: "killed_agent",
    cause,
  });

  test("asks for money and gets the outcome, amounts unharmed", async () => {
    const { link, control, clock } = controlWorld();
    const asked = [link.topUp(TOP_UP), link.topUp(TOP_UP)];
    const messages = await control.got(2);
    expect(messages[0]).toEqual({ t: "top_up", id: 1, ...TOP_UP });
    control.send({ t: "topped_up", id: 2, outcome: "exhausted", left: COST });
    control.send({ t: "topped_up", id: 1, outcome: "ok" });
    expect(await Promise.all(asked)).toEqual([
      { outcome: "ok" },
      { outcome: "exhausted", left: COST },
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  test("waits for reserve_wait_max and then calls the money unavailable", async () => {
    const { link, control, clock } = controlWorld();
    const asked = link.topUp(TOP_UP);
    await control.got(1);
    clock.advance(249);
    control.send({ t: "topped_up", id: 99, outcome: "ok" });
    await settle();
    clock.advance(1);
    expect(await asked).toEqual({ outcome: "unavailable" });
    control.send({ t: "topped_up", id: 1, outcome: "ok" });
    await settle();
    expect(clock.pendingTimers).toBe(0);
  });

  test("takes an answer that lay there when the time was over", async () => {
    const { link, control, clock } = controlWorld();
    const asked = link.topUp(TOP_UP);
    await control.got(1);
    control.send({ t: "topped_up", id: 1, outcome: "ok" });
    clock.advance(250);
    expect(await asked).toEqual({ outcome: "ok" });
  });

  test(`has at most ${TOP_UPS_PENDING_MAX} top-ups under way`, async () => {
    const { link } = controlWorld();
    for (let i = 0; i < TOP_UPS_PENDING_MAX; i++) void link.topUp(TOP_UP);
    expect(await link.topUp(TOP_UP)).toEqual({ outcome: "unavailable" });
  });

  test("sends what one turn settled and saw in one message each", async () => {
    const { link, control, clock } = controlWorld();
    for (const id of ["1", "2", "3"]) {
      link.settled(settledItem(id));
      link.event(event(id, "refusal"));
    }
    await control.got(2);
    await turn();
    link.settled(settledItem("4"));
    clock.advance(GATHER_MS);
    const messages = await control.got(3);
    expect(
      messages.map((message) => [message.t, "items" in message && message.items.length]),
    ).toEqual([
      ["settled", 3],
      ["events", 3],
      ["settled", 1],
    ]);
  });

  test("tells what a row settled as one sum, and what is news of it by itself", async () => {
    const { link, control, clock } = controlWorld();
    const at = (requestId: string, row: number, generation: number, overrunSpentMicros = 0n) =>
      link.settled({ ...settledItem(requestId), row, generation, overrunSpentMicros });
    at("1", 7, 1);
    at("2", 8, 1);
    at("3", 7, 1);
    at("4", 7, 1, 5n);
    // The row has become another account's.
    at("5", 7, 2);
    at("6", 7, 2);
    clock.advance(GATHER_MS);
    const [message] = await control.got(1);
    const items = message?.t === "settled" ? message.items : [];
    expect(items.map((item) => [item.requestId, item.spent.tokens, item.held.calls])).toEqual([
      ["3", 12n, 2n],
      ["2", 6n, 1n],
      ["4", 6n, 1n],
      ["6", 12n, 2n],
    ]);
    expect(items.map(({ overrunHeldMicros }) => overrunHeldMicros)).toEqual([6n, 3n, 3n, 6n]);
  });

  test("gathers over turns what nobody waits for, and sends at once what counts", async () => {
    const { link, control, clock } = controlWorld();
    link.settled(settledItem("1"));
    link.event(event("shown"));
    await turn();
    clock.advance(GATHER_MS - 1);
    link.settled(settledItem("2"));
    await settle();
    expect(control.received).toEqual([]);
    clock.advance(1);
    const gathered = await control.got(2);
    expect(gathered).toMatchObject([{ items: [{}, {}] }, { items: [{}] }]);
    link.settled({ ...settledItem("3"), uncovered: { ...COST, overrunMicros: 0n } });
    expect((await control.got(3))[2]).toMatchObject({ items: [{ requestId: "3" }] });
    link.event(event("scored", "refusal"));
    expect((await control.got(4))[3]).toMatchObject({ items: [{ requestId: "scored" }] });
    expect(clock.pendingTimers).toBe(0);
  });

  test("tells what was spent before it asks for more", async () => {
    const { link, control } = controlWorld();
    link.settled(settledItem("1"));
    void link.topUp(TOP_UP);
    expect((await control.got(2)).map(({ t }) => t)).toEqual(["settled", "top_up"]);
  });

  test(`sends a turn of more than ${ITEMS_PER_MESSAGE_MAX} items in several messages`, async () => {
    const { link, control, clock } = controlWorld();
    const count = ITEMS_PER_MESSAGE_MAX + 1;
    for (let i = 0; i < count; i++) link.settled(settledItem(String(i)));
    clock.advance(GATHER_MS);
    const messages = await control.got(2);
    const items = messages.flatMap((message) => (message.t === "settled" ? message.items : []));
    expect(items.map(({ requestId }) => requestId)).toEqual(
      Array.from({ length: count }, (_, i) => String(i)),
    );
  });

  test("hides no refusal by allows, and begins anew with each second", async () => {
    const { link, control, clock } = controlWorld();
    const allow = { ...event("shown"), allowed: true, reason: "ok", stage: 0 } as const;
    const total = SHOWN_PER_SECOND_MAX.allowed + 10;
    for (let i = 0; i < total; i++) link.event(allow);
    link.event(event("refused"));
    for (let i = 0; i < 10; i++) link.event(event("scored", "refusal"));
    clock.advance(1_000);
    link.event(allow);
    link.flush();
    await settle();
    const items = control.received.flatMap((message) =>
      message.t === "events" ? message.items : [],
    );
    const allows = items.filter(({ allowed }) => allowed);
    expect(allows).toHaveLength(SHOWN_PER_SECOND_MAX.allowed + 2);
    expect(allows.reduce((sum, { more = 0 }) => sum + 1 + more, 0)).toBe(total + 1);
    expect(items.filter(({ requestId }) => requestId === "refused")).toHaveLength(1);
    expect(items.filter(({ requestId }) => requestId === "scored")).toHaveLength(10);
  });

  test.each(["allowed", "refused"] as const)(
    "tells what is %s too often by the last of each kind, with all of their count",
    async (kind) => {
      const { link, control } = controlWorld();
      const total = SHOWN_PER_SECOND_MAX[kind] + 10;
      const made = (id: string) => ({ ...event(id), allowed: kind === "allowed" });
      for (let i = 0; i < total; i++) link.event(made(String(i)));
      const other = { ...made("other"), agentId: "red/other" };
      link.event(other);
      link.flush();
      link.flush();
      await settle();
      const items = control.received.flatMap((message) =>
        message.t === "events" ? message.items : [],
      );
      expect(items.slice(-2)).toEqual([{ ...made(String(total - 1)), more: 9 }, other]);
      expect(items.reduce((sum, { more = 0 }) => sum + 1 + more, 0)).toBe(total + 1);
    },
  );

  test("hands over what the control thread says, and answers what it asks", async () => {
    const { control, calls } = controlWorld();
    control.send({ t: "policy", version: 3, bundle: new Uint8Array(4) });
    control.send({ t: "standing", agentId: "red/worker", standing: "block" });
    control.send({ t: "drain", deadlineMs: 500 });
    control.send({ t: "list_connections", id: 1 });
    control.send({ t: "count_open", id: 3 });
    control.send({ t: "collect_metrics", id: 2 });
    expect(await control.got(3)).toEqual([
      { t: "connections", id: 1, items: [] },
      { t: "open_by_agent", id: 3, items: [] },
      { t: "metrics", id: 2, json: { one: 1 } },
    ]);
    expect(calls).toEqual([
      ["policy", 3, 4],
      ["standing", "red/worker", "block"],
      ["drain", 500],
    ]);
  });

  test("sends its own reports", async () => {
    const { link, control } = controlWorld();
    link.listening(4_000, 4_080);
    link.policyReady(3);
    link.policyFailed(4, "no");
    link.settled(settledItem("1"));
    link.drained(2);
    expect((await control.got(5)).map(({ t }) => t)).toEqual([
      "listening",
      "policy_ready",
      "policy_failed",
      "settled",
      "drained",
    ]);
  });

  test("sends what it has gathered before it closes, and lets go of whoever waits", async () => {
    const { link, control } = controlWorld();
    const asked = link.topUp(TOP_UP);
    link.settled(settledItem("1"));
    link.close();
    expect(await asked).toEqual({ outcome: "unavailable" });
    expect((await control.got(2)).map(({ t }) => t)).toEqual(["top_up", "settled"]);
  });
});
