import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { openDataLoop } from "../../../node/data-loop.ts";
import type { OpenExchange } from "../../../node/dataplane/connections.ts";
import { DRAIN_LOOK_MS } from "../../../node/dataplane/drain.ts";
import type { UpstreamPools } from "../../../node/dataplane/upstream-pools.ts";
import type { ControlToLoop } from "../../../node/thread-messages.ts";
import type { ClosablePort } from "../../../node/thread-port.ts";
import { LoopWorld } from "./loop-world.ts";

/** One end of a way to a thread that the test is. */
class TestPort implements ClosablePort {
  #hear: (message: never) => void = () => undefined;

  postMessage(): void {}

  on<Message>(event: "message" | "close", fn: (message: Message) => void): void {
    if (event === "message") this.#hear = fn;
  }

  close(): void {}

  say(message: ControlToLoop): void {
    this.#hear(message as never);
  }
}

/** A loop without requests, of which is told what its doors were asked to do. */
function openLoop() {
  const { table, clock, commitDeps } = new LoopWorld();
  const told: string[] = [];
  const control = new TestPort();
  const tell = (what: string) => () => void told.push(what);
  const { connections } = openDataLoop(
    {
      data: {
        ...{ loop: 0, mesh: "acme", node: "n1", region: "DE" },
        credentials: new Map(),
        credentialsDir: undefined,
        credentialTeams: undefined,
        sessionSecret: new Uint8Array(32),
      },
      ...{ table, clock, control },
      log: commitDeps.log,
      pool: { run: () => new Promise(() => undefined), close: async () => undefined } as never,
      pools: { close: async () => undefined } as unknown as UpstreamPools,
      meshPort: new TestPort(),
      verify: () => false,
      registry: new Registry(),
      onEnd: tell("ended"),
    },
    () => ({
      serve: () => undefined as never,
      stopAccepting: tell("accepts no more"),
      stopCapturing: tell("captures no more"),
      close: async () => void told.push("closed"),
    }),
  );
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const pass = async (ms: number) => {
    clock.advance(ms);
    await settled();
  };
  return { told, control, connections, pass };
}

/** A connection that was taken in and on which nothing was asked for yet. */
function arriving() {
  const state = { isArriving: true };
  const exchange: Partial<OpenExchange> = {
    requestId: "r",
    arrivingSinceNs: () => (state.isArriving ? 0n : undefined),
    lastCarried: () => undefined,
  };
  return { state, exchange: exchange as OpenExchange };
}

test("a loop that is replaced hears those that came last before it refuses anybody", async () => {
  const { told, control, connections, pass } = openLoop();
  const { state, exchange } = arriving();
  control.say({ t: "outlive", deadlineMs: 60_000 });
  await pass(DRAIN_LOOK_MS);
  connections.register(exchange);
  control.say({ t: "drain", deadlineMs: 60_000 });
  await pass(DRAIN_LOOK_MS);
  expect(told).toEqual(["captures no more"]);
  state.isArriving = false;
  await pass(DRAIN_LOOK_MS);
  expect(told).toEqual(["captures no more", "accepts no more"]);
  connections.remove(exchange);
  await pass(DRAIN_LOOK_MS);
  expect(told).toEqual(["captures no more", "accepts no more", "closed", "ended"]);
});

test("a loop that nobody replaces refuses at once what comes now", async () => {
  const { told, control, connections, pass } = openLoop();
  const { exchange } = arriving();
  connections.register(exchange);
  control.say({ t: "drain", deadlineMs: 1_000 });
  expect(told).toEqual(["accepts no more"]);
  await pass(1_000);
  expect(told).toEqual(["accepts no more", "closed", "ended"]);
});
