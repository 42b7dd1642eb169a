import { createSecureContext } from "node:tls";
import { expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { refusalAnswer } from "../../../node/dataplane/refusal-answer.ts";
import type { TunnelExchange } from "../../../node/dataplane/tunnel/tunnel-exchange.ts";
import { inspectTls } from "../../../node/tls-inspection.ts";
import { grant, provider } from "../../support/builders.ts";
import { eventually } from "./dataplane/door.ts";
import { selfSigned } from "./dataplane/self-signed.ts";
import { realHello } from "./dataplane/tls/hello-bytes.ts";
import { AGENT, askTunnel, FAR, tlsOver, tunnelWorld } from "./tunnel-world.ts";

/** A policy under which what the agent says to the far side is read. */
const inspected = {
  providers: new Map([["p", provider({ origin: `https://${FAR}`, host: FAR })]]),
  agents: new Map([[AGENT, grant({ hosts: [FAR] })]]),
};

test.each(["http/1.1", "h2"])(
  "an inspected connection over %s is arriving until a request has begun on it",
  async (protocol) => {
    const { key, cert } = selfSigned(FAR);
    const within = { isServed: false, hasBegun: false };
    const inspection = inspectTls({
      clock: systemClock,
      certificates: {
        canShow: () => true,
        contextOf: async () => createSecureContext({ key, cert }),
      },
      serve: () => {
        within.isServed = true;
        return { hasBegun: () => within.hasBegun, finish: () => undefined };
      },
    });
    const it = await tunnelWorld(inspected, { inspection });
    const isArriving = () =>
      it.connections.open().map((one) => one.arrivingSinceNs?.() !== undefined);
    const client = await askTunnel(it.door.port, `${FAR}:443`);
    await tlsOver(client, { servername: FAR, ca: cert, ALPNProtocols: [protocol] });
    await eventually(() => within.isServed, "it is served");
    expect(it.connections.open().map((one) => one.isCarrier?.())).toEqual([true]);
    expect(isArriving()).toEqual([true]);
    within.hasBegun = true;
    expect(isArriving()).toEqual([false]);
    within.hasBegun = false;
    const [tunnel] = it.connections.open() as TunnelExchange[];
    tunnel?.answer(refusalAnswer({ requestId: tunnel.requestId, reason: "killed_agent" }));
    expect(tunnel?.arrivingSinceNs(), "it was refused").toBeUndefined();
  },
);

test.each(["http/1.1", "h2"])(
  "a client that leaves before its TLS over %s stands is gone at once",
  async (protocol) => {
    const identity = selfSigned(FAR);
    const inspection = inspectTls({
      // It does not wait for a time to run out.
      clock: { ...systemClock, after: () => () => undefined },
      certificates: {
        canShow: () => true,
        contextOf: async () => createSecureContext(identity),
      },
      // As a connection of HTTP/1.1 does.
      serve: (socket) => {
        socket.on("end", () => socket.destroy()).resume();
        return { hasBegun: () => false, finish: () => undefined };
      },
    });
    const it = await tunnelWorld(inspected, { inspection });
    const client = await askTunnel(it.door.port, `${FAR}:443`);
    client.socket.write(await realHello({ servername: FAR, ALPNProtocols: [protocol] }));
    client.socket.end();
    await eventually(() => it.connections.count() === 0, "nothing is left of it");
    expect(it.faults).toEqual([]);
  },
);

test("a host that can be shown no more when its client speaks is refused, and that is on record", async () => {
  const shown = { isShown: true };
  const inspection = inspectTls({
    clock: systemClock,
    certificates: {
      canShow: () => shown.isShown,
      contextOf: () => Promise.reject(new Error("no certificate")),
    },
    serve: () => undefined,
  });
  const it = await tunnelWorld(inspected, { inspection });
  const client = await askTunnel(it.door.port, `${FAR}:443`);
  shown.isShown = false;
  await expect(tlsOver(client, { servername: FAR })).rejects.toThrow("alert");
  await eventually(() => it.world.settlements.length === 1, "settled");
  expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "not_inspectable"]);
  expect(it.faults).toEqual([]);
});

test("nobody is served who was killed while a certificate was made", async () => {
  const { key, cert } = selfSigned(FAR);
  const asked = Promise.withResolvers<void>();
  const made = Promise.withResolvers<void>();
  let served = 0;
  const inspection = inspectTls({
    clock: systemClock,
    certificates: {
      canShow: () => true,
      contextOf: async () => {
        asked.resolve();
        await made.promise;
        return createSecureContext({ key, cert });
      },
    },
    serve: () => {
      served += 1;
      return { hasBegun: () => true, finish: () => undefined };
    },
  });
  const it = await tunnelWorld(inspected, { inspection });
  const client = await askTunnel(it.door.port, `${FAR}:443`);
  void tlsOver(client, { servername: FAR, ca: cert }).catch(() => undefined);
  await asked.promise;
  await it.connections.cutScope("agent", `agent/${AGENT}`);
  made.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  expect([served, it.faults]).toEqual([0, []]);
});
