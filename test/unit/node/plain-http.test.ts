import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { createForwarder } from "../../../node/dataplane/forward.ts";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setStanding } from "../../../node/table/standing.ts";
import { bumpKeyGeneration, setPolicyVersion } from "../../../node/table/table.ts";
import { grant, policy, provider } from "../../support/builders.ts";
import { eventually, HOST, rawClient, sendAndDrain, statusesOf } from "./dataplane/door.ts";
import { CELLS } from "./loop-world.ts";
import { AGENT, FAR, KEY, proxyAuthorization, tunnelWorld } from "./tunnel-world.ts";

const reasonOf = (answer: string) => /x-altrace-reason: ([a-z_]+)/.exec(answer)?.[1];
const CLOSE = "Connection: close\r\n";

type Seen = { readonly request: IncomingMessage; readonly body: string };

/** A web server that says what it was asked, and a forward proxy with a grant for it. */
async function plainWorld(answer?: RequestListener) {
  const seen: Seen[] = [];
  const sockets: Socket[] = [];
  const far = createServer(async (request, response) => {
    if (answer !== undefined) answer(request, response);
    seen.push({ request, body: await text(request) });
    if (answer === undefined) response.end(`asked for ${request.url}`);
  });
  far.on("connection", (socket) => void sockets.push(socket));
  far.listen(0, HOST);
  await once(far, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    far.close();
  });
  const { port } = far.address() as AddressInfo;
  const noPools = { poolFor: () => expect.unreachable(), retain: () => {}, close: async () => {} };
  const noCredentials = {
    secretOf: () => expect.unreachable(),
    names: [],
    scrub: (words: string) => words,
    close: () => {},
  };
  const forwarder = createForwarder({
    pools: noPools,
    credentials: noCredentials,
    clock: systemClock,
    onFault: (error) => expect.unreachable(String(error)),
  });
  const hosts = [`${FAR}:${port}`, `other.example.com:${port}`];
  const over = { agents: new Map([[AGENT, grant({ hosts })]]) };
  const it = await tunnelWorld(over, { forwarder });
  const head = (method: string, path = "/", more = "", host = FAR) =>
    `${method} http://${host}:${port}${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n` +
    `Proxy-Authorization: ${proxyAuthorization()}\r\n${more}\r\n`;
  const ask = (bytes: string) => sendAndDrain(it.door.port, bytes);
  return { ...it, port, seen, sockets, head, ask };
}

describe("plain HTTP through the forward proxy", () => {
  test("goes to the host that it names, without what is the proxy's own", async () => {
    const it = await plainWorld();
    const more = "X-Mine: 1\r\nAuthorization: Basic c2l0ZQ==\r\nConnection: X-Hop\r\nX-Hop: 1\r\n";
    const answer = await it.ask(it.head("GET", "/a?b=c", more + CLOSE));
    expect(statusesOf(answer)).toEqual([200]);
    expect(answer).toContain("asked for /a?b=c");
    expect(answer).toContain("x-altrace-decision: allow");
    const headers = it.seen[0]?.request.headers ?? {};
    expect(headers).toMatchObject({
      host: `${FAR}:${it.port}`,
      "x-mine": "1",
      authorization: "Basic c2l0ZQ==",
      via: "1.1 altrace",
    });
    expect(Object.keys(headers)).not.toContain("x-hop");
    expect(JSON.stringify(headers)).not.toContain("proxy-");
    expect(it.lookedUp).toEqual([FAR]);
  });

  test("is on record with what passed", async () => {
    const it = await plainWorld();
    await it.ask(it.head("POST", "/", `Content-Length: 5\r\n${CLOSE}`).concat("hello"));
    expect(it.seen.map(({ body }) => body)).toEqual(["hello"]);
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.decisions).toMatchObject([
      { dec: "allow", sv: "PPPPPPPPSSSSPS", act: { door: "forward", route: "http" } },
    ]);
    expect(it.world.settlements).toMatchObject([{ rc: "ok", bytes: { up: 5, down: 11 } }]);
    expect(it.connections.count()).toBe(0);
    expect(it.faults).toEqual([]);
  });

  test.each([
    ["HEAD", 200, { "content-length": "11" }],
    ["GET", 204, {}],
    ["GET", 304, { etag: '"x"' }],
    ["DELETE", 200, { "content-length": "0" }],
  ])(
    "answered without a body leaves the connection whole: %s, %i",
    async (method, status, headers) => {
      const it = await plainWorld(
        (_request, response) => void response.writeHead(status, headers).end(),
      );
      const client = await rawClient(it.door.port);
      client.socket.write(it.head(method));
      await client.until(/\r\n\r\n/);
      client.socket.write(it.head(method, "/again", CLOSE));
      await client.closed;
      expect(statusesOf(client.text())).toEqual([status, status]);
      expect(it.seen.map(({ request }) => request.url)).toEqual(["/", "/again"]);
      expect(client.text()).not.toContain("transfer-encoding");
    },
  );

  test("is served request by request on one connection, each by its own head", async () => {
    const it = await plainWorld();
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("GET", "/1"));
    await client.until(/asked for \/1/);
    client.socket.write(it.head("GET", "/2", CLOSE, "other.example.com"));
    await client.closed;
    expect(statusesOf(client.text())).toEqual([200, 200]);
    expect(it.lookedUp).toEqual([FAR, "other.example.com"]);
    expect(it.seen.map(({ request }) => request.headers.host)).toEqual([
      `${FAR}:${it.port}`,
      `other.example.com:${it.port}`,
    ]);
  });

  test.each([
    ["no credential", "", 407, "credential_missing"],
    ["a provider's key", proxyAuthorization("", "sk-1234"), 407, "foreign_credential"],
    ["another agent's name", proxyAuthorization("research/other"), 407, "credentials_conflict"],
  ])("with %s is refused, and asked for one", async (_what, authorization, status, reason) => {
    const it = await plainWorld();
    const head = it
      .head("GET")
      .replace(/Proxy-Authorization: .*\r\n/, () =>
        authorization === "" ? "" : `Proxy-Authorization: ${authorization}\r\n`,
      );
    const answer = await it.ask(head);
    expect([statusesOf(answer), reasonOf(answer)]).toEqual([[status], reason]);
    expect(answer).toContain('proxy-authenticate: Basic realm="altrace"');
    expect(it.sockets).toEqual([]);
  });

  test.each([
    ["a bearer token", `Authorization: Bearer ${KEY}\r\n`, "/"],
    ["a second key", `Authorization: Bearer site\r\nX-Api-Key: ${KEY}\r\n`, "/"],
    ["a query", "", `/?key=${KEY}`],
  ])("does not hand our key to a host in %s", async (_what, more, path) => {
    const it = await plainWorld();
    expect(reasonOf(await it.ask(it.head("GET", path, more)))).toBe("credentials_conflict");
    expect(it.sockets).toEqual([]);
  });

  test("to a host that is not granted opens and looks up nothing", async () => {
    const it = await plainWorld();
    const answer = await it.ask(it.head("GET", "/", "", "evil.example.com"));
    expect([statusesOf(answer), reasonOf(answer)]).toEqual([[403], "host_not_granted"]);
    expect(it.lookedUp).toEqual([]);
  });

  test.each([
    ["private", ["10.1.2.3"]],
    ["the cloud's metadata", ["169.254.169.254"]],
    ["partly private", [HOST, "192.168.1.1"]],
  ])("to a name whose addresses are %s opens nothing", async (_what, addresses) => {
    const it = await plainWorld();
    it.names.set(FAR, addresses);
    expect(reasonOf(await it.ask(it.head("GET")))).toBe("address_refused");
    expect(it.sockets).toEqual([]);
  });

  test("to a provider's host on a way that is not read is refused", async () => {
    const it = await plainWorld();
    const own = provider({ host: FAR, origin: `https://${FAR}` });
    it.world.policy = { ...it.world.policy, providers: new Map([[own.name, own]]) };
    const answer = await it.ask(it.head("POST", "/v1/chat/completions", "Content-Length: 0\r\n"));
    expect(statusesOf(answer)[0]).toBeGreaterThanOrEqual(400);
    expect(it.sockets).toEqual([]);
  });

  test("has its body held to the policy's limit before anything is opened", async () => {
    const it = await plainWorld();
    const { bodyBytesMax } = policy().limits;
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("POST", "/", `Content-Length: ${bodyBytesMax + 1}\r\n`));
    const answer = await client.until(/body_too_large/);
    expect([statusesOf(answer), reasonOf(answer)]).toEqual([[413], "body_too_large"]);
    expect(it.sockets).toEqual([]);
  });

  test("waits for no more bodies at once than policy lets it", async () => {
    const it = await plainWorld();
    const { limits } = it.world.policy;
    it.world.policy = { ...it.world.policy, limits: { ...limits, bodiesWaitingMax: 1 } };
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("POST", "/", "Content-Length: 5\r\n"));
    await eventually(() => it.connections.waitingBodies(AGENT) === 1, "the first is waited for");
    const second = await rawClient(it.door.port);
    second.socket.write(it.head("POST", "/", "Content-Length: 5\r\n"));
    expect(statusesOf(await second.until(/too_many_waiting/))).toEqual([429]);
    client.socket.write("hello");
    await client.until(/asked for/);
    expect(it.connections.waitingBodies(AGENT)).toBe(0);
  });

  test("with another protocol or method in mind is refused", async () => {
    const it = await plainWorld();
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    expect(reasonOf(await it.ask(it.head("GET", "/", upgrade)))).toBe("upgrade_refused");
    expect(reasonOf(await it.ask(it.head("TRACE")))).toBe("method_not_allowed");
    expect(it.sockets).toEqual([]);
  });

  test("in quarantine is refused", async () => {
    const it = await plainWorld();
    setStanding(it.world.table, it.world.row.row, "quarantine");
    expect(reasonOf(await it.ask(it.head("GET")))).toBe("quarantined");
    expect(it.sockets).toEqual([]);
  });

  test("is cut at a kill, and not taken for whole", async () => {
    const it = await plainWorld((_request, response) => void response.write("first"));
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("GET"));
    await client.until(/first/);
    setKilled(it.world.table, CELLS.agent, true);
    const cut = it.connections.cutScope("agent", `agent/${AGENT}`);
    await client.closed;
    expect((await cut).count).toBe(1);
    expect(client.text()).not.toMatch(/\r\n0\r\n\r\n$/);
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "killed_agent"]);
    await eventually(() => it.sockets.every(({ destroyed }) => destroyed), "the far leg closed");
  });

  test("says nothing of what comes after a kill, its head included", async () => {
    const it = await plainWorld((_request, response) => {
      setKilled(it.world.table, CELLS.agent, true);
      response.writeHead(200, { "x-far": "said" }).flushHeaders();
    });
    const answer = await it.ask(it.head("GET"));
    expect(reasonOf(answer)).toBe("killed_agent");
    expect(answer).not.toContain("said");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "killed_agent"]);
  });

  test("is judged again when policy has changed, and cut with the reason", async () => {
    const it = await plainWorld((_request, response) => void response.write("first"));
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("GET"));
    await client.until(/first/);
    await it.loop.live.judge(it.loop);
    expect(client.socket.destroyed).toBe(false);
    const version = it.world.policy.version + 1;
    it.world.policy = { ...it.world.policy, version, agents: new Map([[AGENT, grant()]]) };
    setPolicyVersion(it.world.table, version);
    await it.loop.live.judge(it.loop);
    await client.closed;
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "host_not_granted"]);
    expect(it.loop.live.count).toBe(0);
  });

  test("of a key that is removed while its body comes is refused", async () => {
    const it = await plainWorld();
    const client = await rawClient(it.door.port);
    client.socket.write(it.head("POST", "/", "Content-Length: 5\r\n"));
    await eventually(() => it.connections.waitingBodies(AGENT) === 1, "the body is waited for");
    it.keys.clear();
    bumpKeyGeneration(it.world.table);
    client.socket.write("hello");
    expect(reasonOf(await client.until(/x-altrace-reason/))).toBe("key_unknown");
    expect(it.sockets).toEqual([]);
  });

  test("has an answer that breaks off broken off at the client, and no header of ours", async () => {
    const it = await plainWorld((_request, response) => {
      response.writeHead(200, { "x-altrace-reason": "forged", "content-length": "100" });
      response.write("some");
      setTimeout(() => response.destroy(), 20);
    });
    const answer = await it.ask(it.head("GET"));
    expect(answer).toContain("some");
    expect(answer).not.toContain("forged");
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]?.rc).toBe("upstream_failed");
  });

  test("to nobody is told so", async () => {
    const it = await plainWorld();
    it.names.set(FAR, ["127.0.0.9"]);
    const answer = await it.ask(it.head("GET"));
    expect([statusesOf(answer), reasonOf(answer)]).toEqual([[502], "upstream_unreachable"]);
    expect(it.world.settlements).toMatchObject([{ rc: "upstream_unreachable" }]);
  });
});
