import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../../adapters/system-clock.ts";
import { createConnections } from "../../../../../node/dataplane/connections.ts";
import { GATEWAY_LIMITS } from "../../../../../node/dataplane/gateway-limits.ts";
import { LingerPlaces } from "../../../../../node/dataplane/lingering-close.ts";
import { refusalAnswer } from "../../../../../node/dataplane/refusal-answer.ts";
import { carriesTls } from "../../../../../node/dataplane/tls/wire-under.ts";
import { SessionExchange } from "../../../../../node/dataplane/tunnel/session-exchange.ts";
import { HOST } from "../door.ts";
import { selfSigned } from "../self-signed.ts";

/** A client's connection, with TLS of ours on it, or plain. */
async function accepted(isTls: boolean): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer();
  server.listen(0, HOST);
  await once(server, "listening");
  const theirs = connect((server.address() as { port: number }).port, HOST);
  const [wire] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    theirs.destroy();
    server.close();
  });
  if (!isTls) return { ours: wire, theirs };
  const ours = new TLSSocket(wire, { isServer: true, ...selfSigned("localhost") });
  carriesTls(wire, ours);
  const client = connectTls({ socket: theirs, rejectUnauthorized: false });
  await once(client, "secureConnect");
  return { ours, theirs: client };
}

async function session(isTls: boolean) {
  const { ours, theirs } = await accepted(isTls);
  theirs.on("error", () => undefined).resume();
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const clock = systemClock;
  const registry = createConnections({ clock, onFault });
  const places = new LingerPlaces({ limits: GATEWAY_LIMITS, clock });
  const asked = new SessionExchange(
    { clock, registry, places, onFault },
    {
      requestId: "r",
      door: "forward",
      head: { method: "GET", target: "/", rawHeaders: [], peer: HOST },
      headAtNs: clock.monoNs(),
      socket: ours,
      first: Buffer.alloc(0),
      via: undefined,
    },
  );
  asked.claim("red/worker", undefined);
  return { asked, theirs, registry, faults };
}

const ENDS: readonly (readonly [string, (it: Awaited<ReturnType<typeof session>>) => unknown])[] = [
  ["is killed", ({ registry }) => registry.cutScope("agent", "agent/red/worker")],
  ["is refused", ({ asked }) => asked.answer(refusalAnswer({ requestId: "r", reason: "blocked" }))],
  ["is reset", ({ asked }) => asked.reset()],
  ["is left by its client", ({ theirs }) => theirs.destroy()],
];

for (const [door, isTls] of [
  ["over TLS that was ended here", true],
  ["over plain HTTP", false],
] as const) {
  test.each(ENDS)(
    `a session asked for ${door} that %s before it is open is over`,
    async (_, end) => {
      const it = await session(isTls);
      const over = new Promise<void>((resolve) => it.asked.onClosed(resolve));
      // Somebody reads it, as while the far side is asked.
      const unwatch = it.asked.watchClient(() => undefined);
      void end(it);
      await over;
      unwatch();
      expect([it.registry.count(), it.faults]).toEqual([0, []]);
    },
  );
}
