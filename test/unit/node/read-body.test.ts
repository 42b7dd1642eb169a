import { expect, test } from "vitest";
import { readBody } from "../../../node/read-body.ts";
import type { Reason } from "../../../proto/reasons.ts";
import { policy } from "../../support/builders.ts";
import { LoopWorld } from "./loop-world.ts";

const { limits } = policy();

function reading(answer: Buffer | Reason) {
  const world = new LoopWorld();
  const asked = world.asked();
  const waiting: number[] = [];
  const connections = {
    startWaiting: () => waiting.push(1) > 0,
    stopWaiting: () => void waiting.push(-1),
  };
  const exchange = { ...asked.exchange, readBody: async () => answer };
  const before = asked.request;
  const read = { ...asked, exchange };
  const loop = { ...world.loop, connections: { ...world.loop.connections, ...connections } };
  return {
    read,
    before,
    waiting,
    body: () => readBody(read, { agentId: "a/b", limits }, loop as never),
  };
}

test("a body that came is what is returned, and no longer waits", async () => {
  const { body, waiting } = reading(Buffer.from("whole"));
  expect(String(await body())).toBe("whole");
  expect(waiting).toEqual([1, -1]);
});

test("a kill while the body came is the kill's to tell, and leaves the request as it was", async () => {
  const { body, read, before } = reading("killed_agent");
  expect(await body()).toBeUndefined();
  expect(read.unread).toBe("killed_agent");
  expect(read.request).toBe(before);
});

test("why a body did not come is what is missing of the request", async () => {
  const { body, read, waiting } = reading("body_too_slow");
  expect(await body()).toBeUndefined();
  expect(read.unread).toBeUndefined();
  expect(read.request).toEqual({ missing: "body_too_slow" });
  expect(waiting).toEqual([1, -1]);
});
