import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { listStrangers } from "../../../node/api/list-strangers.ts";
import type { NodeView } from "../../../node/api/node-view.ts";
import { ASKED_MODEL_BYTES_MAX, askedModel } from "../../../node/asked-model.ts";
import type { FoundRoute } from "../../../node/dataplane/dialects/registry.ts";
import { noteAtDoor, noteQuestion, noteStranger } from "../../../node/note-stranger.ts";
import { NO_PLACEMENT } from "../../../node/placement-file.ts";
import { STRANGER_KEPT_MS, STRANGERS_MAX, StrangerBook } from "../../../node/stranger-book.ts";
import {
  NAMES_PER_SOURCE_MAX,
  SOURCES_PER_MESSAGE_MAX,
  type StrangerSighting,
  StrangerSightings,
} from "../../../node/stranger-sightings.ts";
import { strangersNow } from "../../../node/strangers-now.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { LoopWorld } from "./loop-world.ts";

const AGENT = "research/worker-1";
const NOBODY = { missing: "key_unknown" } as const;

function seen(over: Partial<StrangerSighting> = {}): StrangerSighting {
  const none = { doors: [], hosts: [], models: [], reasons: [] };
  const times = { firstMs: 1_000, lastMs: 1_000, tries: 1 };
  return { source: "10.0.0.7", pod: undefined, claimed: undefined, ...none, ...times, ...over };
}

describe("a data loop", () => {
  test("remembers a refused stranger once, with what it wanted", () => {
    const world = new LoopWorld();
    const pieces: ((piece: Uint8Array) => void)[] = [];
    const { exchange } = world.asked();
    const asking = Object.assign(exchange, {
      onUnread: (fn: (piece: Uint8Array) => void) => void pieces.push(fn),
    });
    const asked = world.asked({ identity: NOBODY, exchange: asking });
    noteStranger(asked, "key_unknown", world.loop);
    noteStranger(asked, "credential_missing", world.loop);
    pieces[0]?.(Buffer.from('{"model":"gpt-'));
    pieces[0]?.(Buffer.from('5-mini","messages":[{"content":"\\"model\\": \\"other\\""}]}'));
    noteQuestion("127.0.0.1", "evil.example", world.loop);
    const news = world.strangers.take();
    expect(news).toMatchObject({
      unlisted: 0,
      sightings: [
        {
          source: "127.0.0.1",
          tries: 3,
          doors: ["gateway", "dns"],
          hosts: ["evil.example"],
          models: ["gpt-5-mini"],
          reasons: ["key_unknown", "credential_missing", "source_unknown"],
        },
      ],
    });
    expect(world.strangers.take()).toBeUndefined();
  });

  test("remembers the model that a path names, for which no body is read", () => {
    const world = new LoopWorld();
    const { exchange, found } = world.asked();
    const asking = Object.assign(exchange, { onUnread: () => expect.unreachable() });
    const named = { ...(found as FoundRoute), model: "gemini-3-pro" };
    noteStranger(
      world.asked({ identity: NOBODY, exchange: asking, found: named }),
      "key_unknown",
      world.loop,
    );
    expect(world.strangers.take()?.sightings).toMatchObject([{ models: ["gemini-3-pro"] }]);
  });

  test("takes no agent of the policy for a stranger, unless nobody gave it a key", () => {
    const world = new LoopWorld();
    const placement = { ...NO_PLACEMENT, agentAt: () => AGENT, podAt: () => "jobs/one" };
    const loop = { ...world.loop, placement };
    const asked = world.asked({ identity: NOBODY });
    noteStranger(asked, "key_unknown", loop);
    noteStranger(asked, "rate_requests", loop);
    noteQuestion("127.0.0.1", "evil.example", loop);
    const atDoor = { requestId: "r", method: undefined, target: "[fd00::1]:22", peer: "127.0.0.1" };
    noteAtDoor({ ...atDoor, reason: "tls_required", door: "transparent" }, loop);
    expect(world.strangers.take()).toBeUndefined();
    noteStranger(asked, "source_unknown", loop);
    const [one] = world.strangers.take()?.sightings ?? [];
    expect(one).toMatchObject({ pod: "jobs/one", claimed: AGENT });
    const unplaced = { ...world.loop, placement: NO_PLACEMENT };
    noteAtDoor({ ...atDoor, reason: "tls_required", door: "forward" }, unplaced);
    expect(world.strangers.take()).toBeUndefined();
    noteAtDoor({ ...atDoor, reason: "tls_required", door: "transparent" }, unplaced);
    expect(world.strangers.take()?.sightings[0]?.hosts).toEqual(["[fd00::1]:22"]);
  });

  test("remembers only so many sources and names, and counts the others", () => {
    const strangers = new StrangerSightings();
    const one = { pod: undefined, claimed: undefined, door: "dns", reason: "source_unknown" };
    for (let i = 0; i < SOURCES_PER_MESSAGE_MAX + 3; i++)
      strangers.note({ ...one, source: `10.0.${i >> 8}.${i & 255}` } as never, 1);
    for (let i = 0; i < 40; i++)
      strangers.note({ ...one, source: "10.0.0.0", host: `h${i}.example` } as never, 2);
    const { sightings, unlisted } = strangers.take() as NonNullable<
      ReturnType<typeof strangers.take>
    >;
    expect([sightings.length, unlisted]).toEqual([SOURCES_PER_MESSAGE_MAX, 3]);
    expect(sightings[0]?.hosts.length).toBe(NAMES_PER_SOURCE_MAX);
    expect(sightings[0]?.tries).toBe(41);
  });

  test("looks for a model in a bounded part of a body, and finds no text of a prompt", () => {
    const found: string[] = [];
    const quoted = askedModel((model) => found.push(model));
    quoted(Buffer.from('{"messages":[{"content":"\\"model\\":\\"in-text\\""}]}'));
    const late = askedModel((model) => found.push(model));
    late(Buffer.from(" ".repeat(ASKED_MODEL_BYTES_MAX)));
    late(Buffer.from('{"model":"too-late"}'));
    const slow = askedModel((model) => found.push(model));
    for (const letter of '{"a":"bcdefghijk","model":"x"}') slow(Buffer.from(letter));
    expect(found).toEqual([]);
  });
});

describe("the book of strangers", () => {
  function open(found?: ReadonlyMap<string, Uint8Array>) {
    const clock = twinClock({ nowMs: 5_000_000 });
    const faults: unknown[] = [];
    const onFault = (error: unknown) => void faults.push(error);
    const store = twinStore({}, found);
    const book = new StrangerBook({ store, clock, onFault });
    const written = async (ticks: number) => {
      for (let i = 0; i < ticks; i++) {
        book.tick();
        await nextTurn();
      }
      expect(faults).toEqual([]);
      return store.durable;
    };
    return { book, clock, written };
  }
  const news = (...sightings: StrangerSighting[]) => ({ sightings, unlisted: 0 });

  test("knows after a restart since when a stranger tries", async () => {
    const { book, written } = open();
    book.note(news(seen({ pod: "shop/cron", hosts: ["a.example"] })));
    book.note(news(seen({ pod: "shop/cron", source: "10.0.0.8", lastMs: 9_000, hosts: ["b"] })));
    expect(open(await written(1)).book.all()).toEqual([
      seen({
        pod: "shop/cron",
        source: "10.0.0.8",
        lastMs: 9_000,
        tries: 2,
        hosts: ["a.example", "b"],
      }),
    ]);
  });

  test("gives up those that tried longest ago, in memory and on the disk", async () => {
    const { book, clock, written } = open();
    const nowMs = clock.nowMs();
    for (let i = 0; i <= STRANGERS_MAX; i++)
      book.note(news(seen({ source: `fd00::${i.toString(16)}`, lastMs: nowMs + i })));
    expect(book.count).toBe(STRANGERS_MAX);
    expect(book.all().some(({ source }) => source === "fd00::0")).toBe(false);
    expect(open(await written(12)).book.count).toBe(STRANGERS_MAX);
    clock.advance(STRANGER_KEPT_MS + STRANGERS_MAX + 1);
    expect((await written(12)).size).toBe(0);
    expect(book.count).toBe(0);
  });
});

describe("the list of strangers", () => {
  test("leaves out who was registered since, and names pods that tried nothing", () => {
    const { policy } = new LoopWorld();
    const pods = new Map([
      ["10.0.0.7", "shop/cron"],
      ["10.0.0.9", "jobs/one"],
    ]);
    const placement = {
      agentAt: (address: string) => (address === "10.0.0.9" ? AGENT : undefined),
      podAt: (address: string) => pods.get(address),
      unregistered: () => [
        { pod: "shop/cron", addresses: ["10.0.0.7"] },
        { pod: "shop/idle", addresses: ["10.0.0.6", "fd00::6"] },
      ],
    };
    const registered = seen({ source: "10.0.0.9", pod: "jobs/one" });
    const gone = seen({ source: "10.0.0.9", pod: "jobs/before" });
    const all = [seen({ pod: "shop/cron" }), registered, gone];
    expect(strangersNow({ seen: all, placement, policy })).toEqual([
      all[0],
      gone,
      seen({ source: "10.0.0.6", pod: "shop/idle", firstMs: 0, lastMs: 0, tries: 0 }),
    ]);
  });

  test("comes in pages, the latest first, each of them once", () => {
    const sightings = Array.from({ length: 7 }, (_, i) =>
      seen({ source: `10.0.0.${i}`, lastMs: 100 + (i >> 1) }),
    );
    const view = { strangers: () => ({ sightings, unlisted: 4 }) } as unknown as NodeView;
    const sources: string[] = [];
    let pageToken = "";
    do {
      const page = listStrangers(view, { pageSize: 3, pageToken });
      expect(page.unlistedTries).toBe(4n);
      sources.push(...page.strangers.map(({ source }) => source));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(sources).toEqual([6, 4, 5, 2, 3, 0, 1].map((i) => `10.0.0.${i}`));
    expect(() => listStrangers(view, { pageSize: 0, pageToken: "x" })).toThrow("page token");
  });
});
