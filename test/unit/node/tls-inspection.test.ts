import { createSecureContext } from "node:tls";
import { expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { inspectTls } from "../../../node/tls-inspection.ts";
import { grant, provider } from "../../support/builders.ts";
import { eventually } from "./dataplane/door.ts";
import { selfSigned } from "./dataplane/self-signed.ts";
import { AGENT, askTunnel, FAR, tlsOver, tunnelWorld } from "./tunnel-world.ts";

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
    const policy = {
      providers: new Map([["p", provider({ origin: `https://${FAR}`, host: FAR })]]),
      agents: new Map([[AGENT, grant({ hosts: [FAR] })]]),
    };
    const it = await tunnelWorld(policy, { inspection });
    const isArriving = () => it.connections.open().map((one) => one.isArriving?.());
    const client = await askTunnel(it.door.port, `${FAR}:443`);
    await tlsOver(client, { servername: FAR, ca: cert, ALPNProtocols: [protocol] });
    await eventually(() => within.isServed, "it is served");
    expect(it.connections.open().map((one) => one.isCarrier?.())).toEqual([true]);
    expect(isArriving()).toEqual([true]);
    within.hasBegun = true;
    expect(isArriving()).toEqual([false]);
  },
);
