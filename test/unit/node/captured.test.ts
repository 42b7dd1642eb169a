import { once } from "node:events";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { GATEWAY_LIMITS } from "../../../node/dataplane/gateway-limits.ts";
import { LingerPlaces } from "../../../node/dataplane/lingering-close.ts";
import type { RefusedAtDoor } from "../../../node/dataplane/serve-exchange.ts";
import { openCaptureDoor } from "../../../node/dataplane/tunnel/capture-door.ts";
import { OwnConnections } from "../../../node/dataplane/tunnel/own-connections.ts";
import { enforceTunnel } from "../../../node/enforce-tunnel.ts";
import { noteAtDoor } from "../../../node/note-stranger.ts";
import { NO_PLACEMENT, openPlacementFile, parsePlacement } from "../../../node/placement-file.ts";
import type { TlsInspection } from "../../../node/tls-inspection.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { grant, provider } from "../../support/builders.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { eventually, HOST, rawClient } from "./dataplane/door.ts";
import { clientHello } from "./dataplane/tls/hello-bytes.ts";
import { AGENT, FAR, FarSide, tunnelWorld } from "./tunnel-world.ts";

const ELSEWHERE = "127.0.0.2";

/** A door for captured connections; the far side has its port, at another address. */
async function captureWorld(
  agentAt: (address: string) => string | undefined,
  connectionsMax = 100,
) {
  const it = await tunnelWorld({}, { placement: { ...NO_PLACEMENT, agentAt } });
  const refused: RefusedAtDoor[] = [];
  const own: { connections?: OwnConnections } = {};
  const taken: (number | undefined)[] = [];
  const door = await openCaptureDoor({
    listen: { port: 0, host: HOST },
    own: { isOther: (socket) => own.connections?.isOther(socket) ?? false },
    backlog: 16,
    connectionsMax,
    connectionsElsewhere: () => 0,
    clock: systemClock,
    random: cryptoRandom,
    registry: it.connections,
    places: new LingerPlaces({ limits: GATEWAY_LIMITS, clock: systemClock }),
    onCaptured: ({ remotePort }) => void taken.push(remotePort),
    onTunnel: (tunnel) => enforceTunnel(tunnel, it.loop),
    onRefused: (one) => {
      noteAtDoor(one, it.loop);
      refused.push(one);
    },
    onFault: (error) => void it.faults.push(error),
  });
  onTestFinished(() => door.close());
  const far = new FarSide(FAR);
  await far.open(door.port, ELSEWHERE);
  it.names.set(FAR, [ELSEWHERE]);
  const granted = grant({ hosts: [`${FAR}:${door.port}`] });
  it.world.policy = { ...it.world.policy, agents: new Map([[AGENT, granted]]) };
  return { ...it, far, door, refused, own, taken };
}

describe("a captured connection", () => {
  test("waits in as long a queue as the launcher has opened", () => {
    const sockets = join(import.meta.dirname, "../../../node/kernel/launcher/sockets.c");
    const { captureBacklog } = GATEWAY_LIMITS;
    expect(readFileSync(sockets, "utf8")).toContain(`BACKLOG = ${captureBacklog} }`);
  });

  test("is its source address's agent's, and goes where its name resolves to", async () => {
    const it = await captureWorld((address) => (address === HOST ? AGENT : undefined));
    const tls = connect({ port: it.door.port, host: HOST, servername: FAR, ca: it.far.cert });
    onTestFinished(() => void tls.destroy());
    await once(tls, "secureConnect");
    expect(it.taken).toEqual([tls.localPort]);
    tls.write("hello");
    const [chunk] = (await once(tls, "data")) as [Buffer];
    expect(chunk.toString()).toBe("HELLO");
    tls.end();
    await eventually(() => it.world.settlements.length === 1, "settled");
    const original = `${HOST}:${it.door.port}`;
    expect(it.world.decisions).toMatchObject([
      {
        dec: "allow",
        act: { door: "transparent", host: `${FAR}:${it.door.port}`, orig: original },
      },
    ]);
    expect(it.faults).toEqual([]);
  });

  test("for which there is no room is closed, and that is on record", async () => {
    const it = await captureWorld(() => AGENT, 1);
    await rawClient(it.door.port);
    await eventually(() => it.door.connectionCount() === 1, "the first is taken in");
    const second = await rawClient(it.door.port);
    await second.closed;
    const target = `${HOST}:${it.door.port}`;
    expect(it.refused).toMatchObject([{ reason: "too_many_connections", peer: HOST, target }]);
    expect(it.taken).toHaveLength(1);
  });

  test("is silent until it has named its host, whatever that waits for then", async () => {
    const it = await captureWorld(() => AGENT);
    Object.assign(it.loop, { resolver: { resolve: () => new Promise(() => undefined) } });
    const client = await rawClient(it.door.port);
    const silentSince = () => it.connections.open().map((one) => one.silentSinceNs?.());
    await eventually(() => silentSince().length === 1, "it is taken in");
    expect(silentSince()).not.toContain(undefined);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await eventually(() => silentSince().includes(undefined), "it is heard");
    expect(it.connections.open().map((one) => one.arrivingSinceNs?.())).not.toContain(undefined);
  });

  test("is carried by whoever took it in, also one that is about to end", async () => {
    const it = await captureWorld(() => AGENT);
    Object.assign(it.loop, { isDraining: () => true });
    const tls = connect({ port: it.door.port, host: HOST, servername: FAR, ca: it.far.cert });
    onTestFinished(() => void tls.destroy());
    await once(tls, "secureConnect");
    expect(it.world.decisions.map(({ dec }) => dec)).toEqual(["allow"]);
  });

  test("whose TLS would end in a node that is about to end is refused, and not let in to be cut", async () => {
    const it = await captureWorld(() => AGENT);
    const serve = vi.fn<TlsInspection["serve"]>(() => new Promise(() => undefined));
    const inspection: TlsInspection = { canInspect: () => true, serve };
    Object.assign(it.loop, { isDraining: () => true, inspection });
    const origin = `https://${FAR}:${it.door.port}`;
    const providers = new Map([["p", provider({ origin, host: FAR })]]);
    it.world.policy = { ...it.world.policy, providers };
    const client = await rawClient(it.door.port);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(client.text()).toBe("\x15\x03\x03\x00\x02\x02\x31");
    expect(it.world.decisions).toMatchObject([{ dec: "deny", rc: "draining" }]);
    expect(serve).not.toHaveBeenCalled();
  });

  test("of nobody's address is refused with an alert, and nothing is dialled", async () => {
    const it = await captureWorld(() => undefined);
    const client = await rawClient(it.door.port);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(client.text()).toBe("\x15\x03\x03\x00\x02\x02\x31");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["source_unknown"]);
    expect(it.far.sockets).toEqual([]);
  });

  test.each([
    ["names no server", clientHello({}), "server_name_missing"],
    ["is no TLS", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "tls_required"],
    ["cannot be read", Buffer.from("160301000102", "hex"), "tls_malformed"],
  ])("whose first message %s is refused at the door", async (_, hello, reason) => {
    const it = await captureWorld(() => AGENT);
    const client = await rawClient(it.door.port);
    client.socket.write(hello);
    await client.closed;
    const target = `${HOST}:${it.door.port}`;
    expect(it.refused).toMatchObject([{ reason, door: "transparent", target, peer: HOST }]);
    await eventually(() => it.connections.count() === 0, "it is gone");
  });

  test("that is encrypted is refused by its name's tunnel", async () => {
    const it = await captureWorld(() => AGENT);
    const client = await rawClient(it.door.port);
    client.socket.write(clientHello({ serverNames: [FAR], more: [[0xfe0d, Buffer.of(0)]] }));
    await client.closed;
    expect(it.world.settlements.map(({ rc }) => rc)).toEqual(["encrypted_hello"]);
    expect(it.far.sockets).toEqual([]);
  });
});

describe("what the node itself has dialled", () => {
  test("is refused when it is captured, whoever its source address is", async () => {
    const it = await captureWorld(() => AGENT);
    // Where the rules do not tell proxy and agent apart, its own way out leads back to its door.
    it.names.set(FAR, [HOST]);
    const client = await rawClient(it.door.port);
    // The client was there before: it stands for one in another process.
    using own = new OwnConnections();
    it.own.connections = own;
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(it.world.decisions.map(({ dec }) => dec)).toEqual(["allow"]);
    expect(it.refused.map(({ reason }) => reason)).toEqual(["captured_self"]);
    expect(it.far.sockets).toEqual([]);
  });

  test("is known by both of its ends, over TLS as well, and forgotten when it ends", async () => {
    const accepted: Socket[] = [];
    const server = createServer((socket) => accepted.push(socket.on("error", () => undefined)));
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
    const { port } = server.address() as AddressInfo;
    const strange = await rawClient(port);
    using own = new OwnConnections();
    await eventually(() => accepted.length === 1, "the other's");
    for (const dial of [() => connectTcp(port, HOST), () => connect({ port, host: HOST })]) {
      const before = accepted.length;
      const socket = dial();
      socket.on("error", () => undefined);
      await eventually(() => accepted.length > before, "it is accepted");
      const other = accepted.at(-1) as Socket;
      await eventually(() => own.isOther(other), "it is known");
      const closed = once(socket, "close");
      socket.destroy();
      await closed;
      expect(own.isOther(other)).toBe(false);
      other.destroy();
    }
    expect(own.isOther(accepted[0] as Socket)).toBe(false);
    strange.socket.destroy();
    accepted[0]?.destroy();
  });
});

describe("the file of placements", () => {
  const rows = (...addresses: string[]) => JSON.stringify([{ agent: AGENT, addresses }]);

  test("says whose an address is, however it is written", () => {
    const placed = parsePlacement(rows("10.0.0.1", "FD00:0:0::1"));
    expect(placed.agents.get("10.0.0.1")).toBe(AGENT);
    expect(placed.agents.get("fd00::1")).toBe(AGENT);
  });

  test("says which pod has an address, and which pods nobody has registered", () => {
    const stranger = { namespace: "shop", name: "cron-1", addresses: ["10.0.0.7"] };
    const known = { name: "one", agent: AGENT, addresses: ["10.0.0.1"] };
    const more = { ...stranger, addresses: ["FD00:0:0::7"] };
    const { pods, unregistered } = parsePlacement(JSON.stringify([stranger, known, more]));
    expect([...pods.values()]).toEqual(["shop/cron-1", "one", "shop/cron-1"]);
    expect(unregistered).toEqual([{ pod: "shop/cron-1", addresses: ["10.0.0.7", "fd00::7"] }]);
  });

  test("gives an address that two agents claim to nobody", () => {
    const two = [AGENT, "research/other"].map((agent) => ({ agent, addresses: ["10.0.0.1"] }));
    expect(parsePlacement(JSON.stringify(two)).agents.size).toBe(0);
  });

  test.each(["{}", "[{", '[{"agent":"nobody","addresses":[]}]', rows("10.0.0"), rows("")])(
    "refuses %s",
    (text) => {
      expect(() => parsePlacement(text)).toThrow();
    },
  );

  test("is read again when it changes, and counts for nothing while it cannot be read", () => {
    using dir = tempDir();
    const path = join(dir.path, "pods.json");
    const clock = twinClock({ nowMs: 0 });
    const problems: string[] = [];
    const placement = openPlacementFile({ path, clock, onProblem: (why) => problems.push(why) });
    expect(placement.agentAt("10.0.0.1")).toBeUndefined();
    expect(problems.length).toBe(1);
    writeFileSync(path, rows("10.0.0.1"));
    expect(placement.agentAt("10.0.0.1")).toBeUndefined();
    clock.advance(1_000);
    expect(placement.agentAt("10.0.0.1")).toBe(AGENT);
    // An address that has gone from one pod to another is nobody's old one for a moment.
    writeFileSync(`${path}.next`, rows("10.0.0.2"));
    renameSync(`${path}.next`, path);
    expect(["10.0.0.1", "10.0.0.2"].map(placement.agentAt)).toEqual([undefined, AGENT]);
    writeFileSync(path, "broken");
    expect(placement.agentAt("10.0.0.2")).toBeUndefined();
    expect(problems.length).toBe(2);
  });
});
