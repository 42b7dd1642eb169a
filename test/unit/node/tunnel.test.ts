import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setStanding } from "../../../node/table/standing.ts";
import { setOpenUntilNs, setPolicyVersion } from "../../../node/table/table.ts";
import { grant, provider } from "../../support/builders.ts";
import { AUTHORITY, NOW_S } from "../../support/contract-forge.ts";
import { eventually, rawClient, sendAndDrain } from "./dataplane/door.ts";
import { clientHello } from "./dataplane/tls/hello-bytes.ts";
import { CELLS } from "./loop-world.ts";
import {
  AGENT,
  askTunnel,
  connectHead,
  FAR,
  KEY,
  proxyAuthorization,
  type TunnelWorld,
  tlsOver,
  tunnelWorld,
} from "./tunnel-world.ts";

const reasonOf = (text: string) => /x-altrace-reason: ([a-z_]+)/.exec(text)?.[1];
const statusOf = (text: string) => Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);

async function openTunnel({ door, far }: TunnelWorld) {
  const client = await askTunnel(door.port, `${FAR}:${far.port}`);
  const tls = await tlsOver(client, { servername: FAR, ca: far.cert });
  const ended = new Promise<string>((resolve) => {
    tls.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    tls.on("end", () => resolve("end"));
  });
  return { client, tls, ended };
}

/** For one that is cut by time: on a busy machine that may be within the handshake. */
async function openTunnelAtMost({ door, far }: TunnelWorld) {
  const client = await askTunnel(door.port, `${FAR}:${far.port}`);
  const ignore = () => undefined;
  void tlsOver(client, { servername: FAR, ca: far.cert }).then(
    (tls) => tls.on("error", ignore),
    ignore,
  );
  return client;
}

async function echo(tls: Awaited<ReturnType<typeof tlsOver>>, text: string): Promise<string> {
  tls.write(text);
  const [chunk] = (await once(tls, "data")) as [Buffer];
  return chunk.toString();
}

describe("a tunnel", () => {
  test("that is granted carries bytes both ways, and its records say so", async () => {
    const it = await tunnelWorld();
    const { client, tls } = await openTunnel(it);
    expect(client.text()).toMatch(/^HTTP\/1.1 200 /);
    expect(await echo(tls, "hello")).toBe("HELLO");
    const last = it.connections.open()[0]?.lastCarried?.();
    expect(last?.upNs).toBeGreaterThan(0n);
    expect(last?.downNs).toBeGreaterThan(last?.upNs as bigint);
    tls.end();
    await client.closed;
    await eventually(() => it.world.settlements.length === 1, "settled");
    const [decision] = it.world.decisions;
    expect(decision).toMatchObject({
      dec: "allow",
      sv: "PPPPPPPPSSSSPS",
      act: { door: "forward", host: `${FAR}:${it.far.port}`, route: "connect", stream: true },
      in: { skipped: "tunnel" },
    });
    const { bytes, rc } = it.world.settlements[0] ?? {};
    expect(rc).toBe("ok");
    expect(bytes?.up).toBeGreaterThan(200);
    expect(bytes?.down).toBeGreaterThan(200);
    expect(it.connections.count()).toBe(0);
    expect(it.faults).toEqual([]);
  });

  test.each([
    ["no credential", "", 407, "credential_missing"],
    ["another scheme", "Digest x", 407, "credential_malformed"],
    ["a provider's key", proxyAuthorization("", "sk-1234"), 407, "foreign_credential"],
    ["an unknown key", proxyAuthorization("", KEY.replace("aaa", "bbb")), 407, "key_unknown"],
    ["another agent's name", proxyAuthorization("research/other"), 407, "credentials_conflict"],
  ])("with %s is refused, and asked for one", async (_, authorization, status, reason) => {
    const it = await tunnelWorld();
    const head = connectHead(`${FAR}:${it.far.port}`, authorization);
    const text = await sendAndDrain(
      it.door.port,
      authorization === "" ? head.replace(/proxy-authorization.*\r\n/, "") : head,
    );
    expect([statusOf(text), reasonOf(text)]).toEqual([status, reason]);
    expect(text).toContain('proxy-authenticate: Basic realm="altrace"');
    expect(it.far.sockets).toEqual([]);
  });

  test("is arriving until both of its legs stand", async () => {
    const it = await tunnelWorld();
    const isArriving = () =>
      it.connections.open().map((one) => one.arrivingSinceNs?.() !== undefined);
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    expect(isArriving()).toEqual([true]);
    await tlsOver(client, { servername: FAR, ca: it.far.cert });
    expect(isArriving()).toEqual([false]);
  });

  test("has a client that is silent from when it may speak to when it has", async () => {
    const it = await tunnelWorld();
    const silentSince = () => it.connections.open().map((one) => one.silentSinceNs?.());
    const beforeNs = systemClock.monoNs();
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    expect(Number(silentSince()[0])).toBeGreaterThan(Number(beforeNs));
    await tlsOver(client, { servername: FAR, ca: it.far.cert });
    expect(silentSince()).toEqual([undefined]);
  });

  test("takes a bearer token, and a user name that is left out", async () => {
    const it = await tunnelWorld();
    for (const authorization of [`Bearer ${KEY}`, proxyAuthorization("")]) {
      const client = await rawClient(it.door.port);
      client.socket.write(connectHead(`${FAR}:${it.far.port}`, authorization));
      expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1.1 200 /);
    }
  });

  test.each([
    "evil.example.com:443",
    `${FAR}:22`,
    "127.0.0.1:443",
    "[::1]:443",
    "2130706433:443",
    "0x7f.1:443",
    "0177.0.0.1:443",
    "localhost:443",
    `${FAR}.:443`,
    "169.254.169.254:80",
  ])("to %s, which nothing grants, is refused; no name is asked for", async (target) => {
    const it = await tunnelWorld();
    const text = await sendAndDrain(it.door.port, connectHead(target));
    expect([statusOf(text), reasonOf(text)]).toEqual([403, "host_not_granted"]);
    expect(it.lookedUp).toEqual([]);
    expect(it.far.sockets).toEqual([]);
    expect(it.world.decisions.map(({ rc, st }) => [rc, st])).toEqual([["host_not_granted", 8]]);
  });

  test.each([
    [["10.0.0.1"]],
    [["169.254.169.254"]],
    [["::ffff:10.0.0.1"]],
    [["64:ff9b::a00:1"]],
    // An answer that mixes is how rebinding looks.
    [["127.0.0.1", "10.0.0.1"]],
  ])("to a name at %j is refused", async (addresses) => {
    const it = await tunnelWorld();
    it.names.set(FAR, addresses);
    const text = await sendAndDrain(it.door.port, connectHead(`${FAR}:${it.far.port}`));
    expect([statusOf(text), reasonOf(text)]).toEqual([403, "address_refused"]);
    expect(it.far.sockets).toEqual([]);
  });

  test("asks for the name once, and dials what was judged", async () => {
    const it = await tunnelWorld();
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    it.names.set(FAR, ["10.0.0.1"]);
    const tls = await tlsOver(client, { servername: FAR, ca: it.far.cert });
    expect(await echo(tls, "x")).toBe("X");
    expect(it.lookedUp).toEqual([FAR]);
  });

  test("to a name that is not there is refused as an upstream fault", async () => {
    const it = await tunnelWorld();
    it.names.delete(FAR);
    const text = await sendAndDrain(it.door.port, connectHead(`${FAR}:${it.far.port}`));
    expect([statusOf(text), reasonOf(text)]).toEqual([502, "name_unresolved"]);
  });

  test("to a provider's host that cannot be inspected is refused, whatever is granted", async () => {
    const it = await tunnelWorld({
      providers: new Map([["p", provider({ origin: "https://far.example.com", host: FAR })]]),
      agents: new Map([[AGENT, grant({ hosts: ["*.example.com", FAR] })]]),
    });
    for (const target of [`${FAR}:443`, `${FAR}:8443`]) {
      const text = await sendAndDrain(it.door.port, connectHead(target));
      expect([statusOf(text), reasonOf(text)]).toEqual([403, "not_inspectable"]);
    }
    expect(it.far.sockets).toEqual([]);
  });

  test.each([
    [
      "names another server",
      clientHello({ serverNames: ["other.example.com"] }),
      "server_name_mismatch",
    ],
    ["names no server", clientHello({}), "server_name_missing"],
    [
      "is encrypted",
      clientHello({ serverNames: [FAR], more: [[0xfe0d, Buffer.of(0)]] }),
      "encrypted_hello",
    ],
    ["cannot be read", Buffer.from("160301000102", "hex"), "tls_malformed"],
    ["is no TLS", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "tls_required"],
    ["is no TLS but server-first", Buffer.from("SSH-2.0-x\r\n"), "tls_required"],
  ])("whose first message %s is never dialled", async (_, hello, reason) => {
    const it = await tunnelWorld();
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    client.socket.write(hello);
    await client.closed;
    // A fatal alert in the clear: the client's TLS says why it failed.
    expect(client.text().slice(-7, -1)).toBe("\x15\x03\x03\x00\x02\x02");
    expect(it.far.sockets).toEqual([]);
    expect(it.world.decisions.map(({ rc, ph }) => [rc, ph])).toEqual([
      ["ok", "request"],
      [reason, "response"],
    ]);
    expect(it.world.settlements.map(({ rc, bytes }) => [rc, bytes])).toEqual([
      [reason, { up: 0, down: 0 }],
    ]);
  });

  test("of a killed agent is refused at its head", async () => {
    const it = await tunnelWorld();
    setKilled(it.world.table, CELLS.agent, true);
    const text = await sendAndDrain(it.door.port, connectHead(`${FAR}:${it.far.port}`));
    expect([statusOf(text), reasonOf(text)]).toEqual([403, "killed_agent"]);
  });

  test("whose agent is killed between greeting and dialling is never dialled", async () => {
    const it = await tunnelWorld();
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    setKilled(it.world.table, CELLS.agent, true);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(it.far.sockets).toEqual([]);
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "killed_agent" });
  });

  test("whose record the kernel does not take is never dialled, and its outcome waits with that", async () => {
    const it = await tunnelWorld();
    it.world.onHandOver = () => {
      it.world.canAllow = false;
      throw new Error("disk full");
    };
    const client = await askTunnel(it.door.port, `${FAR}:${it.far.port}`);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(it.far.sockets).toEqual([]);
    const why = "audit_unavailable";
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.soon).toMatchObject([
      { k: "decision", dec: "allow" },
      { k: "decision", rc: why },
      { k: "settle", rc: why },
    ]);
  });

  test("is cut by a kill on both legs, others go on", async () => {
    const it = await tunnelWorld();
    const { tls, ended } = await openTunnel(it);
    expect(await echo(tls, "hello")).toBe("HELLO");
    const [farLeg] = it.far.sockets;
    const cut = await it.connections.cutScope("agent", `agent/${AGENT}`);
    expect(cut.count).toBe(1);
    expect(await ended).toBe("ECONNRESET");
    await eventually(() => farLeg?.destroyed === true, "the far leg is gone");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "killed_agent" });
    expect(it.connections.count()).toBe(0);
  });

  test("is cut at its next chunk by a cell alone", async () => {
    const it = await tunnelWorld();
    const { tls, ended } = await openTunnel(it);
    setOpenUntilNs(it.world.table, 0n);
    tls.write("secret");
    expect(await ended).toBe("ECONNRESET");
    expect(it.far.text).toEqual([]);
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "mesh_stale" });
  });

  test("is refused in quarantine, and one that is open is closed by it", async () => {
    const it = await tunnelWorld();
    const { tls, ended } = await openTunnel(it);
    expect(await echo(tls, "hello")).toBe("HELLO");
    setStanding(it.world.table, it.world.row.row, "quarantine");
    await it.connections.cutAtLevel(AGENT, "quarantine");
    expect(await ended).toBe("ECONNRESET");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "quarantined" });
    const text = await sendAndDrain(it.door.port, connectHead(`${FAR}:${it.far.port}`));
    expect([statusOf(text), reasonOf(text)]).toEqual([403, "quarantined"]);
  });

  test("is closed by a policy that no longer grants its host, and only then", async () => {
    const it = await tunnelWorld();
    const { tls, ended } = await openTunnel(it);
    await it.loop.live.judge(it.loop);
    expect(await echo(tls, "still")).toBe("STILL");
    it.world.policy = {
      ...it.world.policy,
      version: 2,
      agents: new Map([[AGENT, grant({ hosts: [] })]]),
    };
    setPolicyVersion(it.world.table, 2);
    it.loop.live.watch(it.loop);
    expect(await ended).toBe("ECONNRESET");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "host_not_granted" });
  });

  test("to a far side that is not there ends with an alert", async () => {
    const it = await tunnelWorld({
      agents: new Map([[AGENT, grant({ hosts: [`${FAR}:1`] })]]),
    });
    const client = await askTunnel(it.door.port, `${FAR}:1`);
    client.socket.write(clientHello({ serverNames: [FAR] }));
    await client.closed;
    expect(client.text().slice(-7)).toBe("\x15\x03\x03\x00\x02\x02\x50");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "upstream_unreachable" });
  });

  test("that says nothing for too long is closed", async () => {
    const base = (await tunnelWorld()).world.policy.limits;
    const it = await tunnelWorld({ limits: { ...base, idleTimeoutMs: 60 } });
    const client = await openTunnelAtMost(it);
    await client.closed;
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "tunnel_idle" });
  });

  test("that is open for too long is closed", async () => {
    const base = (await tunnelWorld()).world.policy.limits;
    const it = await tunnelWorld({ limits: { ...base, totalTimeoutMs: 60 } });
    const client = await openTunnelAtMost(it);
    await client.closed;
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "tunnel_expired" });
  });

  test("under a contract carries nothing unread: nobody knows where that goes", async () => {
    const contract = {
      ids: ["c".repeat(43)],
      holders: [AGENT],
      person: "user:alice",
      effective: AUTHORITY,
      rate: AUTHORITY.rate,
      source: "",
      freshUntilNs: 1n << 60n,
      depthLeft: 0,
    };
    const asked: unknown[] = [];
    const it = await tunnelWorld(
      {},
      {
        meshLink: {
          resolveKey: (_handle, _source, isContract) => {
            asked.push(isContract);
            const of = { agentId: AGENT, keyId: "k1234567", contractId: contract.ids[0] };
            const dates = { notBeforeMs: 0, notAfterMs: 0, keyGeneration: 0 };
            return { ...it.world.row, ...of, ...dates, contract };
          },
          delegate: async () => ({ refused: "contract_unavailable" as const, detail: "" }),
          forget: () => undefined,
          close: () => undefined,
        },
        clock: { ...systemClock, nowMs: () => NOW_S * 1_000 },
      },
    );
    const authorization = proxyAuthorization("", `altk_ct123456_${"a".repeat(43)}`);
    const text = await sendAndDrain(
      it.door.port,
      connectHead(`${FAR}:${it.far.port}`, authorization),
    );
    expect([statusOf(text), reasonOf(text)]).toEqual([403, "region_not_granted"]);
    expect(asked).toEqual([true]);
    expect(it.far.sockets).toEqual([]);
  });

  test("counts among the agent's connections", async () => {
    const base = (await tunnelWorld()).world.policy.limits;
    const it = await tunnelWorld({ limits: { ...base, connectionsPerAgentMax: 1 } });
    await openTunnel(it);
    const text = await sendAndDrain(it.door.port, connectHead(`${FAR}:${it.far.port}`));
    expect([statusOf(text), reasonOf(text)]).toEqual([429, "too_many_connections"]);
  });
});
