import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../../adapters/system-clock.ts";
import { createConnections } from "../../../../../node/dataplane/connections.ts";
import { GATEWAY_LIMITS } from "../../../../../node/dataplane/gateway-limits.ts";
import { LingerPlaces } from "../../../../../node/dataplane/lingering-close.ts";
import { carry } from "../../../../../node/dataplane/tunnel/carry.ts";
import { TunnelExchange } from "../../../../../node/dataplane/tunnel/tunnel-exchange.ts";
import type { Reason } from "../../../../../proto/reasons.ts";
import { eventually, HOST } from "../door.ts";

/** A server, the sockets that it has accepted, and what was said on them. */
async function listening(hears: boolean) {
  const accepted: Socket[] = [];
  const heard: string[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket.on("error", () => undefined));
    if (hears) socket.on("data", (chunk) => heard.push(String(chunk)));
  });
  server.listen(0, HOST);
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  return { accepted, heard, port: (server.address() as AddressInfo).port };
}

/** A tunnel whose far side is found when the test says so; its client has said `hello` by then. */
async function carried() {
  const door = await listening(false);
  const client = connect(door.port, HOST).on("error", () => undefined);
  onTestFinished(() => void client.destroy());
  await eventually(() => door.accepted.length === 1, "the client is taken in");
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const clock = systemClock;
  const registry = createConnections({ clock, onFault });
  const places = new LingerPlaces({ limits: GATEWAY_LIMITS, clock });
  const tunnel = new TunnelExchange(
    { clock, registry, places, onFault },
    {
      requestId: "r",
      door: "transparent",
      head: { method: "CAPTURED", target: "", rawHeaders: [], peer: HOST },
      headAtNs: clock.monoNs(),
      target: { host: "far", port: 443 },
      socket: door.accepted[0] as Socket,
      first: Buffer.alloc(0),
      original: undefined,
    },
  );
  const far = await listening(true);
  const found = Promise.withResolvers<void>();
  const upstream = connect({
    host: "far",
    port: far.port,
    lookup: (_name, _options, tell) => {
      found.promise.then(
        () => tell(null, [{ address: HOST, family: 4 }]),
        (error: Error) => tell(error, []),
      );
    },
  });
  tunnel.carryTo(upstream);
  const closed: { now: Reason | undefined } = { now: undefined };
  const ended = carry({
    tunnel,
    upstream,
    first: Buffer.from("hello"),
    clock,
    limits: { firstByteTimeoutMs: 60_000, idleTimeoutMs: 60_000, totalTimeoutMs: 60_000 },
    closedNow: () => closed.now,
  });
  return { client, far, found, closed, ended, tunnel, registry, faults };
}

test("what a client said before its kill is not said after it, however long the far side took", async () => {
  const it = await carried();
  it.closed.now = "killed_agent";
  it.found.resolve();
  const { accepted, heard } = it.far;
  await Promise.race([it.ended, eventually(() => heard.length > 0, "something is said")]);
  expect(heard).toEqual([]);
  expect(await it.ended).toEqual({ reason: "killed_agent" });
  await eventually(() => accepted[0]?.destroyed === true, "what was begun before is gone");
  expect([heard, it.registry.count(), it.faults]).toEqual([[], 0, []]);
});

test("a far side that cannot be had is told of, also where the client has gone on speaking", async () => {
  const it = await carried();
  it.client.write("and more");
  const alert = once(it.client, "data");
  await eventually(() => it.tunnel.bytesUp === "hello and more".length - 1, "it is heard");
  it.found.reject(new Error("ENOTFOUND"));
  expect(await it.ended).toEqual({ reason: "upstream_unreachable" });
  const [said] = (await alert) as [Buffer];
  expect(said.toString("latin1")).toBe("\x15\x03\x03\x00\x02\x02\x50");
  expect([it.registry.count(), it.faults]).toEqual([0, []]);
});
