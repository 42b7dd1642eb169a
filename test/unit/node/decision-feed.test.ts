import { describe, expect, test } from "vitest";
import {
  DecisionFeed,
  type FedDecision,
  REFUSALS_KEPT_MAX,
  WAITING_MAX,
  WATCHERS_MAX,
} from "../../../node/decision-feed.ts";
import type { AgentEvent } from "../../../node/thread-messages.ts";

function event(no: number, over: Partial<AgentEvent> = {}): AgentEvent {
  return {
    agentId: "research/worker-1",
    requestId: String(no),
    atMs: no,
    allowed: false,
    stage: 9,
    reason: "model_not_granted",
    standing: "normal",
    cause: "refusal",
    ...over,
  };
}

const all = (): boolean => true;

async function take(from: AsyncIterator<FedDecision>, count: number): Promise<FedDecision[]> {
  const taken: FedDecision[] = [];
  for (let i = 0; i < count; i++) taken.push((await from.next()).value as FedDecision);
  return taken;
}

function watch(feed: DecisionFeed, filter = all as (event: AgentEvent) => boolean) {
  const aborted = new AbortController();
  const watched = feed.watch(filter, aborted.signal);
  return { aborted, iterator: watched?.[Symbol.asyncIterator]() as AsyncIterator<FedDecision> };
}

describe("a watcher", () => {
  test("gets what is decided from its call on, in order, and only what it asked for", async () => {
    const feed = new DecisionFeed();
    feed.tell(event(1));
    const { iterator } = watch(feed, ({ allowed }) => !allowed);
    feed.tell(event(2));
    feed.tell(event(3, { allowed: true, reason: "ok" }));
    const later = take(iterator, 2);
    feed.tell(event(4));
    expect((await later).map((one) => one.event.requestId)).toEqual(["2", "4"]);
  });

  test("that is too slow loses the oldest, and is told how many", async () => {
    const feed = new DecisionFeed();
    const { iterator } = watch(feed);
    for (let i = 0; i < WAITING_MAX + 5; i++) feed.tell(event(i));
    expect(await take(iterator, 2)).toMatchObject([
      { event: { requestId: "5" }, missed: 5 },
      { event: { requestId: "6" }, missed: 0 },
    ]);
  });

  test("hears how many a refusal stands for, of those too that it was too slow for", async () => {
    const feed = new DecisionFeed();
    const { iterator } = watch(feed);
    feed.tell(event(0, { more: 3 }));
    for (let i = 1; i < WAITING_MAX; i++) feed.tell(event(i));
    feed.tell(event(WAITING_MAX, { more: 2 }));
    expect(await take(iterator, 1)).toMatchObject([{ event: { requestId: "1" }, missed: 4 }]);
    const rest = await take(iterator, WAITING_MAX - 1);
    expect(rest.at(-1)).toMatchObject({ missed: 2 });
  });

  test("ends with its caller, waiting or not, and makes room for another", async () => {
    const feed = new DecisionFeed();
    const watchers = Array.from({ length: WATCHERS_MAX }, () => watch(feed));
    expect(feed.watch(all, new AbortController().signal)).toBeUndefined();
    const [first] = watchers;
    const waiting = first?.iterator.next();
    first?.aborted.abort();
    expect(await waiting).toMatchObject({ done: true });
    expect(feed.watch(all, new AbortController().signal)).toBeDefined();
  });
});

test("the latest refusals are kept, and no allow", () => {
  const feed = new DecisionFeed();
  for (let i = 0; i < REFUSALS_KEPT_MAX + 10; i++) feed.tell(event(i));
  feed.tell(event(9_999, { allowed: true }));
  expect(feed.recent(all, 2).map(({ requestId }) => requestId)).toEqual(["1008", "1009"]);
  expect(feed.recent(all, 0)).toEqual([]);
  expect(feed.recent(all, REFUSALS_KEPT_MAX)).toHaveLength(REFUSALS_KEPT_MAX);
});
