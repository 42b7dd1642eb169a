import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { NOTHING } from "../../../../node/actors/account-book.ts";
import { newAgent } from "../../../../node/actors/agent-state.ts";
import type { ActorView } from "../../../../node/actors/seat.ts";
import {
  AgentEncodings,
  ENCODING_LASTS_MS,
  watchedAgent,
} from "../../../../node/api/agent-encodings.ts";
import type { NodeView } from "../../../../node/api/node-view.ts";
import type { AgentOpen } from "../../../../node/thread-messages.ts";
import {
  AgentStateSchema,
  ListAgentsResponseSchema,
  WatchAgentsResponseSchema,
} from "../../../../proto/gen/altrace/v1/node_service_pb.ts";

const T0_MS = 1_790_000_000_000;
const OPEN: AgentOpen = { agentId: "a/1", exchanges: 2, streams: 1, held: NOTHING };
const NONE: ReadonlyMap<string, AgentOpen> = new Map();

/** A node whose actors and kills a test sets. */
function nodeOf(...agentIds: string[]) {
  const actors = new Map<string, ActorView>();
  const world = { agentIds, killed: new Set<string>(), nowMs: T0_MS };
  let tell: (agentId: string) => void = () => undefined;
  const view = {
    actor: (agentId: string) => actors.get(agentId),
    followActors: (fn: typeof tell) => {
      tell = fn;
    },
    agentIds: () => world.agentIds,
    killed: () => world.killed,
    ladder: () => ({ windowMs: 60_000, halfLifeMs: 60_000, halfLifeMsOf: new Map() }),
    nowMs: () => world.nowMs,
  } as unknown as NodeView;
  const putUnsaid = (agentId: string, actor: Partial<ActorView>) => {
    const known = actors.get(agentId);
    const state = actor.state ?? known?.state ?? newAgent(T0_MS);
    const balance = actor.balance ?? known?.balance ?? NOTHING;
    actors.set(agentId, { account: `agent/${agentId}`, state, balance });
  };
  const put = (agentId: string, actor: Partial<ActorView>) => {
    putUnsaid(agentId, actor);
    tell(agentId);
  };
  const forget = (agentId: string) => {
    actors.delete(agentId);
    tell(agentId);
  };
  return { world, put, putUnsaid, forget, encodings: new AgentEncodings(view) };
}

const shown = (bytes: Uint8Array) => fromBinary(AgentStateSchema, bytes);

describe("an agent's encoding", () => {
  test("is the very same bytes while the agent shows the same", () => {
    const { put, encodings } = nodeOf("a/1");
    const idle = encodings.of("a/1", undefined);
    expect(encodings.of("a/1", undefined)).toBe(idle);
    expect(shown(idle)).toMatchObject({ agent: "a/1", active: false });
    put("a/1", { state: { ...newAgent(T0_MS), allowed: 3 } });
    const active = encodings.of("a/1", undefined);
    expect(shown(active)).toMatchObject({ active: true, allowed: 3n });
    expect(encodings.of("a/1", undefined)).toBe(active);
  });

  test("is another after each thing that it shows has changed", () => {
    const { world, put, forget, encodings } = nodeOf("a/1");
    put("a/1", {});
    encodings.of("a/1", undefined);
    put("a/1", { state: { ...newAgent(T0_MS), refused: 1 } });
    expect(shown(encodings.of("a/1", undefined)).refused).toBe(1n);
    let balance = NOTHING;
    for (const unit of ["usdMicros", "tokens", "calls"] as const) {
      balance = { ...balance, [unit]: 7n };
      put("a/1", { balance });
      expect(shown(encodings.of("a/1", undefined)).available?.[unit]).toBe(7n);
    }
    world.killed = new Set(["team/b", "team/a"]);
    const killed = { killed: true, killedBy: ["team/a"] };
    expect(shown(encodings.of("a/1", undefined))).toMatchObject(killed);
    world.killed = new Set(["team/b", "agent/a/1"]);
    expect(shown(encodings.of("a/1", undefined)).killedBy).toEqual(["agent/a/1"]);
    world.killed = new Set(["global"]);
    expect(shown(encodings.of("a/1", undefined)).killedBy).toEqual(["global"]);
    world.killed = new Set();
    expect(shown(encodings.of("a/1", undefined)).killed).toBe(false);
    forget("a/1");
    expect(shown(encodings.of("a/1", undefined))).toMatchObject({ active: false, refused: 0n });
  });

  test("stays while others are killed, and is looked at again after a while", () => {
    const { world, put, putUnsaid, encodings } = nodeOf("a/1");
    put("a/1", {});
    const before = encodings.of("a/1", undefined);
    world.killed = new Set(["team/aa", "agent/a/11", "contract/a/1"]);
    expect(encodings.of("a/1", undefined)).toBe(before);
    world.nowMs += ENCODING_LASTS_MS;
    expect(encodings.of("a/1", undefined)).toBe(before);
    putUnsaid("a/1", { balance: { ...NOTHING, calls: 7n } });
    world.nowMs += ENCODING_LASTS_MS;
    expect(shown(encodings.of("a/1", undefined)).available?.calls).toBe(7n);
  });

  test("says what is open now, and is not kept for when nothing is", () => {
    const { encodings } = nodeOf("a/1");
    encodings.of("a/1", undefined);
    expect(shown(encodings.of("a/1", OPEN))).toMatchObject({ openConnections: 2, openStreams: 1 });
    expect(shown(encodings.of("a/1", undefined))).toMatchObject({ openConnections: 0 });
  });

  test("is made anew while there is a score, which falls by itself", () => {
    const { world, put, encodings } = nodeOf("a/1");
    const score = { cause: "refusal", count: 1, lastAtMs: T0_MS, fresh: [], decayed: 8_000 };
    const { ladder, ...rest } = newAgent(T0_MS);
    const scores = [{ ...score, decayedAtMs: T0_MS }] as unknown as typeof ladder.scores;
    put("a/1", { state: { ...rest, ladder: { ...ladder, scores } } });
    const before = shown(encodings.of("a/1", undefined)).scoreMilli;
    world.nowMs += 86_400_000;
    expect(shown(encodings.of("a/1", undefined)).scoreMilli).toBeLessThan(Number(before));
  });
});

test("whose encodings may go is looked up now and then, not for each that is new", () => {
  const { world, encodings } = nodeOf();
  const present: string[] = [];
  let looks = 0;
  Object.defineProperty(world, "agentIds", {
    get: () => {
      looks += 1;
      return present;
    },
  });
  for (let no = 0; no < 5_000; no += 1) {
    present.push(`a/${no}`);
    encodings.of(`a/${no}`, undefined);
  }
  expect(looks).toBeGreaterThan(0);
  expect(looks).toBeLessThan(10);
});

test("a page and a watched agent are the messages that a client reads", () => {
  const { put, encodings } = nodeOf("a/1", "a/2");
  put("a/2", { balance: { ...NOTHING, calls: 4n } });
  const page = encodings.page(["a/1", "a/2"], new Map([["a/1", OPEN]]), "a/2");
  expect(fromBinary(ListAgentsResponseSchema, page.bytes)).toMatchObject({
    agents: [
      { agent: "a/1", openConnections: 2 },
      { agent: "a/2", available: { calls: 4n } },
    ],
    nextPageToken: "a/2",
  });
  const last = fromBinary(ListAgentsResponseSchema, encodings.page([], NONE, "").bytes);
  expect(last).toMatchObject({ agents: [], nextPageToken: "" });
  const watched = watchedAgent(encodings.of("a/2", undefined)).bytes;
  expect(fromBinary(WatchAgentsResponseSchema, watched)).toMatchObject({
    agent: { agent: "a/2" },
    gone: false,
  });
});
