import { expect, test } from "vitest";
import type { Seat } from "../../../node/actors/seat.ts";
import { SeatMap } from "../../../node/actors/seat-map.ts";
import { AgentIds } from "../../../node/agent-ids.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";

const naming = (...ids: string[]): CompiledPolicy =>
  ({ agents: new Map(ids.map((id) => [id, {}])) }) as unknown as CompiledPolicy;

const seat = {} as Seat;

function agentsOf(...accounts: string[]) {
  const seats = new SeatMap();
  for (const account of accounts) seats.set(account, seat);
  const in_ = { policy: undefined as CompiledPolicy | undefined };
  return { seats, in_, ids: new AgentIds({ policy: () => in_.policy, accounts: seats }) };
}

test("lists what policy names and what was active, each once and in order", () => {
  const { seats, in_, ids } = agentsOf("agent/b/2", "overrun", "agent/a/1", "agent/zz/9");
  expect(ids.all()).toEqual(["a/1", "b/2", "zz/9"]);
  in_.policy = naming("b/2", "c/3", "b/1");
  expect(ids.all()).toEqual(["a/1", "b/1", "b/2", "c/3", "zz/9"]);
  seats.delete("agent/a/1");
  seats.delete("agent/zz/9");
  expect(ids.all()).toEqual(["b/1", "b/2", "c/3"]);
  in_.policy = naming("d/4");
  expect(ids.all()).toEqual(["b/2", "d/4"]);
});

test("shows at once who comes and who leaves, and keeps what policy names", () => {
  const { seats, in_, ids } = agentsOf();
  in_.policy = naming("b/1");
  expect(ids.all()).toEqual(["b/1"]);
  seats.set("agent/c/1", seat).set("agent/b/1", seat).set("agent/a/1", seat);
  expect(ids.all()).toEqual(["a/1", "b/1", "c/1"]);
  seats.delete("agent/b/1");
  seats.delete("agent/c/1");
  seats.delete("agent/never/here");
  expect(ids.all()).toEqual(["a/1", "b/1"]);
});

test("is the same list, and not put in order again, while nothing of it has changed", () => {
  const { seats, in_, ids } = agentsOf("agent/a/1");
  in_.policy = naming("b/1", "b/2");
  const before = ids.all();
  seats.set("agent/b/1", seat);
  seats.set("contract/x", seat);
  expect(ids.all()).toBe(before);
});
