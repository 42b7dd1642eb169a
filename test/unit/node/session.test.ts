import { connect, type Socket } from "node:net";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { WebSocket } from "undici";
import { describe, expect, onTestFinished, test } from "vitest";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setStanding } from "../../../node/table/standing.ts";
import type { AgentPolicy, CompiledPolicy, ModelPolicy } from "../../../policy/compiled-policy.ts";
import { model, price, provider } from "../../support/builders.ts";
import { TlsFront } from "../../support/tls-front.ts";
import { eventually, HOST } from "./dataplane/door.ts";
import { CELLS } from "./loop-world.ts";
import { AGENT, KEY, requestWorld, SECRET } from "./request-world.ts";
import { webSocketServer } from "./web-socket-server.ts";

const EVENT = JSON.stringify({ type: "session.created", event_id: "e" });
const SESSION_USD_MICROS = 2_000_000;
const HIGHEST_CLASS = 3;

/** A gateway before a provider of sessions, which policy lets go unread. */
async function sessionWorld(
  of: {
    readonly sessions?: ModelPolicy["sessions"] | "none";
    readonly granted?: Partial<AgentPolicy>;
    readonly policy?: Partial<CompiledPolicy>;
    readonly answer?: (accept: string) => string;
    readonly isSilent?: true;
  } = {},
) {
  const far = await webSocketServer(EVENT, of);
  const served = provider({ origin: `http://${HOST}:${far.port}`, clearance: HIGHEST_CLASS });
  const known = model({
    id: "openai/gpt-realtime",
    upstreamName: "gpt-realtime-2",
    provider: served,
    price: price({ fixedMicros: SESSION_USD_MICROS }),
    ...(of.sessions !== "none" && { sessions: "unread" }),
  });
  const it = await requestWorld({
    reply: (response) => response.end(),
    granted: { models: ["openai/*"], clearance: HIGHEST_CLASS, ...of.granted },
    policy: {
      providers: new Map([["openai", served]]),
      models: new Map([["openai:gpt-realtime", known]]),
      ...of.policy,
    },
  });
  return { ...it, far };
}

type SessionWorld = Awaited<ReturnType<typeof sessionWorld>>;

function open(it: SessionWorld, over: Readonly<Record<string, string>> = {}) {
  const headers = { authorization: `Bearer ${KEY}`, ...over };
  const client = new WebSocket(`ws://${HOST}:${it.port}/v1/realtime?model=gpt-realtime`, {
    headers,
  });
  const closed = new Promise<number>((resolve) => {
    client.addEventListener("close", ({ code }) => resolve(code));
    client.addEventListener("error", () => undefined);
  });
  const said = new Promise<unknown>((resolve) => {
    client.addEventListener("message", ({ data }) => resolve(data));
  });
  return { client, closed, said };
}

function rawClientOf(port: number, lines: readonly string[]): Socket {
  const socket = connect(port, HOST, () => {
    socket.write(
      `GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: x\r\n${lines.join("\r\n")}\r\n\r\n`,
    );
  });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** The answer to a handshake that is no session's. */
function asked(port: number, lines: readonly string[], target = "/v1/realtime?model=gpt-realtime") {
  return new Promise<string>((resolve) => {
    let text = "";
    const socket = connect(port, HOST, () => {
      socket.write(`GET ${target} HTTP/1.1\r\nhost: x\r\n${lines.join("\r\n")}\r\n\r\n`);
    });
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
    onTestFinished(() => void socket.destroy());
  });
}

const HANDSHAKE = [
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];
const BEARER = `authorization: Bearer ${KEY}`;

const reasonIn = (answer: string) => /x-altrace-reason: ([a-z_]+)/.exec(answer)?.[1];

/** The code of a connection that was broken off, without a word of WebSocket. */
const BROKEN_OFF = 1006;

describe("a session", () => {
  test("is carried both ways under the provider's credential, and costs what policy says", async () => {
    const it = await sessionWorld();
    const { client, said, closed } = open(it);
    expect(await said).toBe(EVENT);
    const [head] = it.far.asked;
    expect(head?.url).toBe("/v1/realtime?model=gpt-realtime-2");
    expect(head?.headers).toMatchObject({ authorization: `Bearer ${SECRET}` });
    expect(JSON.stringify(head?.rawHeaders)).not.toContain("altk_");
    expect(head?.headers).not.toHaveProperty("sec-websocket-extensions");
    expect(it.loop.holds.count).toBe(1);
    // Its own time begins when the far side has agreed, which may take long.
    const { firstByteTimeoutMs, totalTimeoutMs } = it.world.policy.limits;
    const [hold] = it.loop.holds.list();
    const lastsMs = (hold?.ageMs ?? 0) + (hold?.leftMs ?? 0);
    expect(lastsMs).toBeGreaterThan(firstByteTimeoutMs + totalTimeoutMs);
    client.send("a word");
    await eventually(() => it.far.heard.length > 0, "the far side to hear it");
    client.close();
    for (const socket of it.far.sockets) socket.end();
    await closed;
    await eventually(() => it.world.settled.length === 1, "settled");
    expect(it.world.settled[0]?.spent.usdMicros).toBe(BigInt(SESSION_USD_MICROS));
    expect(it.loop.holds.count).toBe(0);
    const [allowed] = it.world.decisions;
    expect(allowed).toMatchObject({ dec: "allow", act: { route: "openai.realtime" } });
    expect(it.world.settlements[0]).toMatchObject({ rc: "ok", in: { skipped: "tunnel" } });
    expect(it.world.settlements[0]?.bytes?.up).toBeGreaterThan(0);
    expect(it.connections.count()).toBe(0);
    expect(it.faults).toEqual([]);
  });

  test("is open to the official client, in front of whose gateway there is TLS", async () => {
    const it = await sessionWorld();
    using front = new TlsFront("localhost", new URL(`http://${HOST}:${it.port}`));
    await front.listen();
    const client = new OpenAI({ apiKey: KEY, baseURL: `https://localhost:${front.port}/v1` });
    const options = { ca: front.certificate };
    const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options }, client);
    const created = await new Promise((resolve, reject) => {
      realtime.on("session.created", resolve);
      realtime.on("error", reject);
    });
    expect(created).toMatchObject({ event_id: "e" });
    realtime.socket.terminate();
    await eventually(() => it.connections.count() === 0, "the session to be over");
  });

  test.each([
    [
      "a kill",
      async (it: SessionWorld) => {
        setKilled(it.world.table, CELLS.agent, true);
        expect((await it.connections.cutScope("agent", `agent/${AGENT}`)).count).toBe(1);
      },
      "killed_agent",
    ],
    [
      "a kill that only the cells show",
      async (it: SessionWorld) => {
        setKilled(it.world.table, CELLS.agent, true);
        for (const socket of it.far.sockets) socket.write(Buffer.of(0x81, 1, 0x61));
      },
      "killed_agent",
    ],
    [
      "quarantine",
      async (it: SessionWorld) => {
        await it.connections.cutAtLevel(AGENT, "quarantine");
      },
      "quarantined",
    ],
    [
      "a policy that lets none go unread",
      async (it: SessionWorld) => {
        const models = new Map(
          [...it.world.policy.models].map(([name, known]) => {
            const { sessions: _, ...counted } = known;
            return [name, counted] as const;
          }),
        );
        it.switchPolicy({ models: ["openai/*"], clearance: HIGHEST_CLASS }, { models });
        await it.loop.live.judge(it.loop);
      },
      "session_not_granted",
    ],
  ])("is ended by %s, on both legs, and what it cost is charged", async (_what, end, reason) => {
    const it = await sessionWorld();
    const { said, closed } = open(it);
    await said;
    await end(it);
    expect(await closed).toBe(BROKEN_OFF);
    await eventually(() => it.far.sockets.every(({ destroyed }) => destroyed), "the far leg");
    await eventually(() => it.world.settled.length === 1, "settled");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", reason]);
    expect(it.world.settled[0]?.spent.usdMicros).toBe(BigInt(SESSION_USD_MICROS));
    expect(it.connections.count()).toBe(0);
  });

  test("that the far side does not agree to is refused, and another protocol than asked for", async () => {
    const head =
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    const paid = BigInt(SESSION_USD_MICROS);
    const says = (status: string) => () =>
      `HTTP/1.1 ${status}\r\ncontent-length: 14\r\n\r\nsk-of-provider`;
    // What is refused in so many words was never opened; of anything else nobody knows.
    for (const [answer, usdMicros] of [
      [says("401 Unauthorized"), 0n],
      [says("302 Found"), 0n],
      [says("500 Internal Server Error"), paid],
      [() => `${head}sec-websocket-accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`, paid],
      [
        (accept: string) =>
          `${head}sec-websocket-accept: ${accept}\r\nsec-websocket-extensions: x\r\n\r\n`,
        paid,
      ],
      [
        (accept: string) =>
          `${head}sec-websocket-accept: ${accept}\r\nsec-websocket-protocol: x\r\n\r\n`,
        paid,
      ],
    ] as const) {
      const it = await sessionWorld({ answer });
      const text = await asked(it.port, [...HANDSHAKE, BEARER]);
      expect(text).toMatch(/^HTTP\/1\.1 502 /);
      expect(reasonIn(text)).toBe("upstream_failed");
      expect(text).not.toContain("sk-of");
      expect(it.world.settlements).toMatchObject([{ rc: "upstream_failed" }]);
      expect(it.world.settled[0]?.spent).toMatchObject({ usdMicros });
      await eventually(() => it.far.sockets.every(({ readableEnded }) => readableEnded), "an end");
    }
  });

  test("of which the record cannot be written has no connection opened for it", async () => {
    const it = await sessionWorld();
    it.world.onHandOver = () => {
      it.world.canAllow = false;
      throw new Error("disk full");
    };
    const text = await asked(it.port, [...HANDSHAKE, BEARER]);
    expect(reasonIn(text)).toBe("audit_unavailable");
    expect(it.far.connections()).toBe(0);
    expect(it.world.settled[0]?.spent).toMatchObject({ usdMicros: 0n });
  });

  test("whose client leaves before it is open leaves nothing behind", async () => {
    for (const leave of [
      (socket: Socket) => void socket.end(),
      (socket: Socket) => void socket.resetAndDestroy(),
      // No client speaks before it was let that still wants what it asked for.
      (socket: Socket) => void socket.write("x"),
    ]) {
      const it = await sessionWorld({ isSilent: true });
      const client = rawClientOf(it.port, [...HANDSHAKE, BEARER]);
      await eventually(() => it.far.sockets.length === 1, "the far side to be asked");
      leave(client);
      await eventually(() => it.world.settled.length === 1, "settled");
      expect(it.world.settlements[0]).toMatchObject({ rc: "client_gone" });
      await eventually(() => it.far.sockets.every(({ destroyed }) => destroyed), "the far leg");
      await eventually(() => it.connections.count() === 0, "the session to be over");
    }
  });
});

describe("no session is opened, and nobody is asked", () => {
  const refused = async (
    of: Parameters<typeof sessionWorld>[0],
    lines: readonly string[] = [...HANDSHAKE, BEARER],
    target?: string,
  ) => {
    const it = await sessionWorld(of);
    const text = await asked(it.port, [...lines, "connection: close"], target);
    expect(it.far.asked).toEqual([]);
    expect(it.faults).toEqual([]);
    return reasonIn(text);
  };

  test("with a model whose sessions policy says nothing of, not even in shadow", async () => {
    expect(await refused({ sessions: "none" })).toBe("session_not_granted");
    const policy = { shadowStages: new Set([9]) };
    expect(await refused({ sessions: "none", policy })).toBe("session_not_granted");
  });

  test("by an agent, or with a provider, that may not see the highest class", async () => {
    expect(await refused({ granted: { clearance: 2 } })).toBe("class_not_cleared");
  });

  test("with a model that is not granted, or without a key", async () => {
    expect(await refused({ granted: { models: [] } })).toBe("model_not_granted");
    expect(await refused({}, HANDSHAKE)).toBe("credential_missing");
  });

  test("in quarantine, even with a model that it leaves", async () => {
    const quarantine = { models: ["openai/*"] };
    const it = await sessionWorld({ granted: { quarantine } });
    setStanding(it.world.table, it.world.row.row, "quarantine");
    expect(reasonIn(await asked(it.port, [...HANDSHAKE, BEARER]))).toBe("quarantined");
  });

  test.each([
    ["another version", ["sec-websocket-version: 13", "sec-websocket-version: 8"]],
    ["no key", ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-key: x"]],
    [
      "a key of ours in the protocol",
      [
        "upgrade: websocket",
        `upgrade: websocket\r\nsec-websocket-protocol: realtime, openai-insecure-api-key.${KEY}`,
      ],
    ],
    ["a header twice", ["upgrade: websocket", "upgrade: websocket\r\nsec-websocket-version: 13"]],
  ] as const)("by a handshake with %s", async (_what, [line, by]) => {
    const lines = HANDSHAKE.map((one) => (one === line ? by : one));
    expect(await refused({}, [...lines, BEARER])).toBe("malformed_request");
  });

  test("on another path, in another protocol, or by an ordinary request", async () => {
    expect(await refused({}, [...HANDSHAKE, BEARER], "/v1/models")).toBe("upgrade_refused");
    expect(await refused({}, [...HANDSHAKE, BEARER], "/v1/realtime")).toBe("route_unknown");
    const other = HANDSHAKE.map((one) => one.replace("upgrade: websocket", "upgrade: other"));
    expect(await refused({}, [...other, BEARER])).toBe("upgrade_refused");
    expect(await refused({}, [BEARER])).toBe("malformed_request");
    const withBody = [...HANDSHAKE, BEARER, "content-length: 3"];
    expect(await refused({}, withBody)).toBe("malformed_http");
    const withFrames = [...HANDSHAKE, `${BEARER}\r\n\r\na word before it may be said`];
    expect(await refused({}, withFrames)).toBe("malformed_http");
  });
});
