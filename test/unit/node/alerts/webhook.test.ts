import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ALERT_EVERY_MS } from "../../../../node/alerts/alert-book.ts";
import {
  ALERT_LIFE_MS,
  ALERTS_WAITING_MAX,
  POSTS_MAX,
  Webhook,
} from "../../../../node/alerts/webhook.ts";
import type { WebhookRequest } from "../../../../node/alerts/webhook-message.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { type TwinStore, twinStore } from "../../../../ports/twin-store.ts";
import { refusal } from "./refusal.ts";

/** A receiver whose answers a test decides, and the node's part that talks to it. */
function world(store: TwinStore = twinStore(), reasons: readonly string[] = []) {
  const clock = twinClock();
  const posted: WebhookRequest[] = [];
  const problems: string[] = [];
  const receiver = { isUp: true, answers: Promise.resolve() };
  let drawn = 0;
  const numbered = (count: number): Buffer => {
    const bytes = Buffer.alloc(Math.max(count, 4));
    bytes.writeUInt32BE(drawn++, bytes.length - 4);
    return bytes.subarray(0, count);
  };
  const start = (on: TwinStore) =>
    new Webhook({
      target: { secret: Buffer.alloc(32, 7), reasons: new Set(reasons) },
      from: { mesh: "acme", node: "node-1" },
      store: on,
      clock,
      random: { bytes: numbered },
      post: async (request) => {
        posted.push(request);
        await receiver.answers;
        if (!receiver.isUp) throw new Error("it is down");
      },
      onProblem: (why) => problems.push(why),
    });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) await setImmediate();
  };
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle();
  };
  const ids = () => posted.map(({ headers }) => headers["webhook-id"]);
  const counts = () => posted.map(({ body }) => JSON.parse(body).data.count);
  return { clock, posted, problems, receiver, store, start, settle, advance, ids, counts };
}

describe("a webhook", () => {
  test("tells a refusal at once and not an allow, nor what the operator did not ask for", async () => {
    const { clock, posted, start, settle, store } = world(twinStore(), ["killed_agent"]);
    const webhook = start(store);
    webhook.decided(refusal(clock.nowMs(), { allowed: true, reason: "ok" }));
    webhook.decided(refusal(clock.nowMs()));
    await settle();
    expect(posted).toEqual([]);
    webhook.decided(refusal(clock.nowMs(), { reason: "killed_agent", stage: 3 }));
    await settle();
    expect(JSON.parse(posted[0]?.body ?? "")).toMatchObject({
      type: "altrace.violation",
      data: { mesh: "acme", node: "node-1", agent: "research/worker-1", reason: "killed_agent" },
    });
  });

  test("H1: what was counted and not delivered is told after a crash, under its id, once", async () => {
    const { clock, receiver, store, start, settle, advance, ids, counts } = world();
    receiver.isUp = false;
    const webhook = start(store);
    webhook.decided(refusal(clock.nowMs()));
    await settle();
    for (let i = 0; i < 4; i++) webhook.decided(refusal(clock.nowMs()));
    // The next tick keeps what was only counted.
    await advance(1_000);
    webhook.stop();
    const [first] = ids();
    const tried = ids().length;
    expect(new Set(ids()).size).toBe(1);

    receiver.isUp = true;
    const disk = store.crash();
    const again = start(disk);
    await advance(2_000);
    expect(ids().slice(tried)).toEqual([first]);
    await advance(ALERT_EVERY_MS);
    expect(counts().slice(tried)).toEqual([1, 4]);
    again.stop();

    // Nothing is left of them.
    start(disk.crash());
    await advance(2 * ALERT_EVERY_MS);
    expect(counts().slice(tried)).toEqual([1, 4]);
  });

  test("H2: it is tried later and later, told of once, and given up after a day", async () => {
    const { clock, posted, problems, receiver, store, start, settle, advance } = world();
    receiver.isUp = false;
    start(store).decided(refusal(clock.nowMs()));
    await settle();
    const at: number[] = [];
    for (let second = 0; second < 40; second++) {
      const before = posted.length;
      await advance(1_000);
      if (posted.length > before) at.push(second + 1);
    }
    const pauses = at.map((second, i) => second - (at[i - 1] ?? 0));
    expect(pauses.length).toBeGreaterThan(3);
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
    expect(problems).toEqual(["it is down"]);
    clock.advance(ALERT_LIFE_MS);
    await settle();
    await advance(301_000);
    expect(problems.at(-1)).toMatch(/given up after a day: 1 times model_not_granted/);
    const count = posted.length;
    await advance(3_600_000);
    expect(posted).toHaveLength(count);
    expect([...store.durable.keys()]).toEqual([]);
  });

  test("one that the receiver never takes keeps no other from it", async () => {
    const { clock, posted, store, start, settle, advance } = world();
    const webhook = start(store);
    webhook.decided(refusal(clock.nowMs()));
    await settle();
    expect(posted).toHaveLength(1);
    const hated = "research/hated";
    const push = posted.push.bind(posted);
    posted.push = (request) => {
      push(request);
      if (request.body.includes(hated)) throw new Error("422");
      return posted.length;
    };
    webhook.decided(refusal(clock.nowMs(), { agentId: hated }));
    webhook.decided(refusal(clock.nowMs(), { agentId: "research/liked" }));
    await settle();
    await advance(2_000);
    expect(posted.filter(({ body }) => body.includes("research/liked"))).toHaveLength(1);
  });

  test("some are under way at once, and their failing together is one failure", async () => {
    const { clock, problems, receiver, store, start, settle, advance, ids } = world();
    const { promise, resolve } = Promise.withResolvers<void>();
    receiver.answers = promise;
    const webhook = start(store);
    const total = POSTS_MAX + 2;
    for (let i = 0; i < total; i++) webhook.decided(refusal(clock.nowMs(), { agentId: `a/${i}` }));
    await settle();
    expect(new Set(ids()).size).toBe(POSTS_MAX);
    receiver.isUp = false;
    resolve();
    await settle();
    expect(ids()).toHaveLength(POSTS_MAX);
    expect(problems).toEqual(["it is down"]);
    // The wait after a first failure, a quarter of it at most on top; then it is one that is tried.
    await advance(1_000);
    await advance(1_000);
    expect(ids()).toHaveLength(POSTS_MAX + 1);
    receiver.isUp = true;
    for (let second = 0; second < 5; second++) await advance(1_000);
    expect(new Set(ids()).size).toBe(total);
    expect([...store.durable.keys()].filter((key) => key.includes("alert/"))).toEqual([]);
  });

  test("H3: what waits is bounded, and what is beyond is counted and told later", async () => {
    const { clock, receiver, store, start, settle, advance, counts } = world();
    receiver.isUp = false;
    const webhook = start(store);
    const total = ALERTS_WAITING_MAX + 20;
    for (let i = 0; i < total; i++) webhook.decided(refusal(clock.nowMs(), { agentId: `a/${i}` }));
    await settle();
    const keys = [...store.durable.keys()].filter((key) => key.startsWith("webhook/alert/"));
    expect(keys).toHaveLength(ALERTS_WAITING_MAX);
    const tried = counts().length;
    receiver.isUp = true;
    for (let i = 0; i < 5; i++) {
      await advance(1_000);
      await new Promise((resolve) => setTimeout(resolve));
      for (let turn = 0; turn < 3_000; turn++) await setImmediate();
    }
    expect(
      counts()
        .slice(tried)
        .reduce((sum, count) => sum + count, 0),
    ).toBe(total);
  });

  test("a store that fails loses no alert, and it is said", async () => {
    const failing = twinStore({ commitFate: () => "fails_not_persisted" });
    const { clock, posted, problems, start, settle } = world(failing);
    start(failing).decided(refusal(clock.nowMs()));
    await settle();
    expect(posted).toHaveLength(1);
    expect(problems[0]).toMatch(/could not be kept/);
  });
});
