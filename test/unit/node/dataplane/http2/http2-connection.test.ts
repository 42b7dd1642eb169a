import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../../adapters/system-clock.ts";
import type { Exchange } from "../../../../../node/dataplane/exchange.ts";
import type { Protocol, Served } from "../../../../../node/dataplane/gateway.ts";
import {
  GATEWAY_LIMITS,
  type GatewayLimits,
} from "../../../../../node/dataplane/gateway-limits.ts";
import {
  CONTINUATIONS_MAX,
  HTTP2_LIMITS,
} from "../../../../../node/dataplane/http2/http2-limits.ts";
import type { Clock } from "../../../../../ports/clock.ts";
import { twinClock } from "../../../../../ports/twin-clock.ts";
import { type Door, eventually, HOST, openDoor, refusalOf } from "../door.ts";
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  frameClient,
  head,
  header,
} from "./http2-frames.ts";
import { VIA } from "./via.ts";

/** What was written and the kernel has not taken, as libuv knows it. */
type Queued = { readonly _handle?: { readonly writeQueueSize: number } };

/** More than the kernel keeps on its way. */
const ANSWER_BYTES = 32 * 1024 * 1024;

type World = {
  readonly door: Door;
  readonly port: number;
  /** Where HTTP/1.1 is spoken in its place. */
  readonly http1: number;
  readonly exchanges: Exchange[];
  readonly served: Served[];
  /** The door's ends of the connections. */
  readonly sockets: Socket[];
};

/** A door that is handed connections as if their TLS had been ended. */
async function world(
  serve: (exchange: Exchange) => void | Promise<void>,
  limits: Partial<GatewayLimits> = {},
  clock: Clock = systemClock,
): Promise<World> {
  const exchanges: Exchange[] = [];
  const door = await openDoor(
    (exchange) => {
      exchanges.push(exchange);
      exchange.claim("red/worker", undefined);
      return serve(exchange);
    },
    { limits, clock },
  );
  const served: Served[] = [];
  const sockets: Socket[] = [];
  const listen = async (protocol: Protocol): Promise<number> => {
    // As those of an HTTP server are, on which TLS is ended.
    const tcp = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      const one = door.gateway.serve(socket, VIA, protocol);
      if (one !== undefined) served.push(one);
    });
    tcp.listen(0, HOST);
    await once(tcp, "listening");
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      tcp.close();
    });
    return (tcp.address() as AddressInfo).port;
  };
  const ports = { port: await listen("h2"), http1: await listen("http/1.1") };
  return { door, ...ports, exchanges, served, sockets };
}

function client({ port }: World): ClientHttp2Session {
  // Whether there is TLS is for whoever makes the connection.
  const session = connectHttp2("https://a", { createConnection: () => connect(port, HOST) });
  session.on("error", () => undefined);
  onTestFinished(() => void session.destroy());
  return session;
}

type Told = { readonly status: number; readonly text: string; readonly code: number };

/** The status, the body, and the code with which the stream ended. */
function told(stream: ClientHttp2Stream): Promise<Told> {
  let status = 0;
  let text = "";
  stream.on("response", (headers) => {
    status = headers[":status"] ?? 0;
  });
  stream.setEncoding("utf8");
  stream.on("data", (piece: string) => {
    text += piece;
  });
  stream.on("error", () => undefined);
  return new Promise((resolve) => {
    stream.on("close", () => resolve({ status, text, code: stream.rstCode ?? 0 }));
  });
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string) {
  const stream = session.request({ ":method": "POST", ":path": "/v1/x", ...headers });
  stream.end(body);
  return told(stream);
}

const echo = async (exchange: Exchange): Promise<void> => {
  const body = await exchange.readBody({ bytesMax: 1_000_000, timeoutMs: 5_000 });
  if (typeof body === "string") exchange.answer(refusalOf(400, body));
  else exchange.answer({ status: 200, headers: ["x-method", exchange.head.method], body });
};

test.each<Protocol>(["h2", "http/1.1"])(
  "a connection over %s has begun with its first request",
  async (protocol) => {
    const it = await world(echo);
    const session = client(it);
    if (protocol === "h2") await once(session, "remoteSettings");
    const raw = connect(it.http1, HOST);
    onTestFinished(() => void raw.destroy());
    await eventually(() => it.served.length === 2, "both are served");
    const begun = () => it.served.filter((one) => one.hasBegun()).length;
    expect(begun()).toBe(0);
    if (protocol === "h2") await ask(session, {});
    else raw.write("GET / HTTP/1.1\r\nhost: a:443\r\n\r\n");
    await eventually(() => begun() === 1, "the one of the two that was asked has begun");
    await eventually(() => it.door.registry.count() === 0, "its request is over");
    expect(begun()).toBe(1);
  },
);

describe("a request over HTTP/2", () => {
  test("is an exchange like any other, and many run side by side", async () => {
    const it = await world(echo);
    const session = client(it);
    const asked = Array.from({ length: 20 }, (_, i) => ask(session, {}, `body ${i}`));
    const answers = await Promise.all(asked);
    expect(answers.map(({ text }) => text)).toEqual(asked.map((_, i) => `body ${i}`));
    const [exchange] = it.exchanges;
    expect(exchange?.head).toMatchObject({ method: "POST", target: "/v1/x" });
    expect(exchange?.head.rawHeaders.slice(0, 2)).toEqual(["host", "a:443"]);
    expect(exchange).toMatchObject({ door: "forward", via: VIA });
    await eventually(() => it.door.registry.count() === 0, "nothing is left open");
  });

  test("with a body as large as many windows comes whole, and so does its answer", async () => {
    const it = await world(echo);
    const body = "0123456789".repeat(60_000);
    expect((await ask(client(it), {}, body)).text).toBe(body);
  });

  test("for another host is answered 421, whatever was asked on the connection before", async () => {
    const it = await world(echo);
    const session = client(it);
    expect((await ask(session, {}, "x")).status).toBe(200);
    for (const headers of [
      { ":authority": "b" },
      { ":authority": "a:444" },
      { host: "b" },
      { ":authority": "a", host: "b" },
    ]) {
      const answer = await ask(session, headers, "x");
      expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([
        421,
        "misdirected_request",
      ]);
    }
    expect((await ask(session, { ":authority": "A:443" }, "x")).status).toBe(200);
    expect(it.exchanges.length).toBe(2);
    expect(it.door.refused.map(({ reason }) => reason)).toEqual(
      Array(4).fill("misdirected_request"),
    );
  });

  test.each([
    ["another scheme", { ":scheme": "http" }, 400],
    ["a target that is no path", { ":path": "*", ":method": "OPTIONS" }, 400],
    ["a head above headBytesMax", { "x-a": "y".repeat(GATEWAY_LIMITS.headBytesMax) }, 431],
    [
      "more headers than headersMax",
      Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`x-${i}`, "y"])),
      431,
    ],
  ])(
    "with %s is refused with a reason, and the connection goes on",
    async (_what, over, status) => {
      const it = await world(echo);
      const session = client(it);
      expect((await ask(session, over, undefined)).status).toBe(status);
      expect((await ask(session, {}, "x")).status).toBe(200);
      expect(it.exchanges.length).toBe(1);
    },
  );

  test("that asks for a tunnel is refused", async () => {
    const it = await world(echo);
    const stream = client(it).request({ ":method": "CONNECT", ":authority": "b:443" });
    stream.end();
    const answer = await told(stream);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([
      405,
      "method_not_allowed",
    ]);
  });

  test("whose body breaks off is none: it is never taken for a whole one", async () => {
    const bodies: unknown[] = [];
    const it = await world(async (exchange) => {
      bodies.push(await exchange.readBody({ bytesMax: 1_000, timeoutMs: 5_000 }));
    });
    for (const code of [constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL]) {
      const raw = await frameClient(it.port);
      raw.send(
        frame(FRAME.headers, END_HEADERS, 1, head({ ":method": "POST" })),
        frame(FRAME.data, 0, 1, Buffer.from('{"half":1}')),
      );
      await eventually(() => it.exchanges.length > 0, "it is served");
      raw.send(frame(FRAME.reset, 0, 1, Buffer.of(0, 0, 0, code)));
      await eventually(() => it.door.registry.count() === 0, "it is over");
      it.exchanges.length = 0;
    }
    expect(bodies).toEqual(["client_gone", "client_gone"]);
    expect(it.door.faults).toEqual([]);
  });

  test("that is refused before its body is told so, and the rest is thrown away within bounds", async () => {
    const it = await world((exchange) => exchange.answer(refusalOf(403, "killed_agent")), {
      lingerBytesMax: 100_000,
    });
    const session = client(it);
    const small = await ask(session, {}, "y".repeat(50_000));
    expect([small.status, small.code]).toEqual([403, constants.NGHTTP2_NO_ERROR]);
    const large = await ask(session, {}, "y".repeat(400_000));
    expect([large.status, large.code]).toEqual([403, constants.NGHTTP2_NO_ERROR]);
    expect(large.text).toContain("killed_agent");
  });
});

const CUT = Buffer.from('data: {"error":{"code":"killed_agent"}}\n\n');

function stream(exchange: Exchange): void {
  exchange.begin(200, ["content-type", "text/event-stream"]);
  exchange.write(Buffer.from("data: 1\n\n"));
  exchange.onCut(() => exchange.cut(CUT));
}

test("a whole answer that its client takes slowly is not taken for one that it does not take", async () => {
  const clock = twinClock();
  const body = Buffer.alloc(8_000_000);
  const answer = { status: 200, headers: [], body };
  const limits = { stalledReaderMs: 100 };
  const it = await world((exchange) => exchange.answer(answer), limits, clock);
  const stream = client(it).request({ ":path": "/" });
  let [bytes, enough] = [0, 0];
  stream.on("error", () => undefined);
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes >= enough) stream.pause();
  });
  for (let look = 0; look < 3; look += 1) {
    enough = bytes + 1_000_000;
    stream.resume();
    await eventually(() => bytes >= enough, "some of it");
    clock.advance(limits.stalledReaderMs);
  }
  enough = Number.POSITIVE_INFINITY;
  stream.resume();
  await once(stream, "end");
  expect([bytes, it.door.faults]).toEqual([body.length, []]);
});

describe("an answer that streams", () => {
  test("is told of a kill in its last frame, and its stream ends", async () => {
    const it = await world(stream);
    const session = client(it);
    const asked = [ask(session, {}), ask(session, {})];
    await eventually(() => it.exchanges.length === 2, "both are served");
    const cut = await it.door.registry.cutScope("agent", "agent/red/worker");
    expect(cut.count).toBe(2);
    for (const answer of await Promise.all(asked)) {
      expect(answer.text).toBe(`data: 1\n\n${CUT}`);
    }
  });

  test("that may not go on and has no last frame is reset, never ended", async () => {
    const it = await world((exchange) => {
      exchange.begin(200, []);
      exchange.write(Buffer.from("x"));
      setImmediate(() => exchange.cut(undefined));
    });
    const answer = await ask(client(it), {});
    expect([answer.text, answer.code]).toEqual(["x", constants.NGHTTP2_INTERNAL_ERROR]);
  });

  test("to a client that takes nothing is reset after stalledReaderMs", async () => {
    const it = await world(
      (exchange) => {
        exchange.begin(200, []);
        exchange.write(Buffer.alloc(500_000));
      },
      { stalledReaderMs: 50 },
    );
    const raw = await frameClient(it.port);
    raw.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, head()));
    await eventually(() => raw.of(FRAME.reset).length === 1, "a reset");
    await eventually(() => it.door.registry.count() === 0, "nothing is left open");
  });

  test("is given up with its client, which whoever serves it is told", async () => {
    let gone = 0;
    const it = await world((exchange) => {
      stream(exchange);
      exchange.onGone(() => {
        gone += 1;
      });
    });
    const session = client(it);
    const asked = session.request({ ":path": "/" });
    asked.on("error", () => undefined);
    await once(asked, "response");
    asked.close(constants.NGHTTP2_CANCEL);
    await eventually(() => gone === 1, "it is told");
    expect(session.destroyed).toBe(false);
  });
});

test.each(["a request under way", "nothing"])(
  "a connection whose client closes its side is over, with %s on it",
  async (what) => {
    let gone = 0;
    const count = (): void => {
      gone += 1;
    };
    // None of the times would end it while the test waits.
    const limits = { headTimeoutMs: 600_000, stalledReaderMs: 600_000 };
    const it = await world((exchange) => exchange.onGone(count), limits);
    const raw = await frameClient(it.port);
    const isAsked = what !== "nothing";
    if (isAsked) raw.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, head()));
    await eventually(() => it.exchanges.length === Number(isAsked), "it is served");
    raw.socket.end();
    await once(raw.socket, "close");
    await eventually(() => it.door.registry.count() === 0, "nothing is left open");
    expect([gone, it.door.refused, it.door.faults]).toEqual([Number(isAsked), [], []]);
  },
);

describe("a connection that is to end", () => {
  test("serves what runs on it to its end, and nothing more", async () => {
    let running: Exchange | undefined;
    const it = await world((exchange) => {
      running = exchange;
      exchange.begin(200, []);
    });
    const session = client(it);
    const asked = ask(session, {});
    await eventually(() => running !== undefined, "it is served");
    it.door.gateway.stopAccepting();
    await eventually(() => session.closed, "the client to be told");
    running?.write(Buffer.from("the rest"));
    running?.end();
    expect(await asked).toMatchObject({ status: 200, text: "the rest" });
    await eventually(() => session.destroyed, "the connection to end");
    expect(it.exchanges.length).toBe(1);
  });

  test("and on which nothing runs is closed at once, as one of HTTP/1.1 is", async () => {
    const it = await world(echo);
    const session = client(it);
    expect((await ask(session, {}, "x")).status).toBe(200);
    const raw = connect(it.http1, HOST);
    raw.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    await once(raw, "data");
    for (const served of it.served) served.finish();
    await Promise.all([once(raw, "close"), eventually(() => session.destroyed, "its end")]);
  });
});

describe("a connection whose client takes nothing of what it was told is closed", () => {
  /** What a client may be sent is bounded by the kernel's room alone. */
  async function stuck(limits: Partial<GatewayLimits> = {}) {
    const it = await world((exchange) => {
      exchange.answer({ status: 200, headers: [], body: Buffer.alloc(ANSWER_BYTES) });
    }, limits);
    const raw = await frameClient(it.port);
    raw.socket.pause();
    const most = Buffer.of(0x7f, 0xff, 0, 0);
    const windows = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.of(0, 4), most]));
    raw.send(windows, frame(FRAME.windowUpdate, 0, 0, most));
    raw.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, head()));
    const [socket] = it.sockets as readonly unknown[] as readonly Queued[];
    await eventually(() => (socket?._handle?.writeQueueSize ?? 0) > 0, "the kernel takes no more");
    return { ...it, raw, isClosed: () => it.sockets.every(({ destroyed }) => destroyed) };
  }

  test("when it ends its side", async () => {
    const it = await stuck();
    it.raw.socket.end();
    await eventually(it.isClosed, "the connection is closed");
    expect([it.door.registry.count(), it.door.faults]).toEqual([0, []]);
  });

  test("when it floods", async () => {
    const it = await stuck();
    for (let i = 0; it.door.refused.length === 0 && i < 5_000; i++) {
      it.raw.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
      await new Promise(setImmediate);
    }
    await eventually(it.isClosed, "the connection is closed");
    expect([it.door.registry.count(), it.door.faults]).toEqual([0, []]);
  });

  test("when it has given up its request, and asks for nothing more in its time", async () => {
    const it = await stuck({ keepAliveTimeoutMs: 30 });
    it.raw.send(frame(FRAME.reset, 0, 1, Buffer.of(0, 0, 0, 8)));
    await eventually(it.isClosed, "the connection is closed");
    expect([it.door.registry.count(), it.door.faults]).toEqual([0, []]);
  });
});

describe("a connection is ended, and the log says why, for", () => {
  test("more than resetsPerSecondMax requests given up, one after another", async () => {
    const it = await world(() => {});
    const raw = await frameClient(it.port);
    for (let i = 0; !raw.socket.destroyed && i < 1_000; i++) {
      raw.send(...givenUp(1 + 2 * i));
      // What comes in one read is another matter: see below.
      const isTaken = () => it.exchanges.length > i && it.door.registry.count() === 0;
      while (!raw.socket.destroyed && !isTaken()) await new Promise(setImmediate);
    }
    expect(it.door.refused).toMatchObject([
      { reason: "http2_flood", detail: "resets", peer: HOST },
    ]);
    expect(it.exchanges.length).toBe(HTTP2_LIMITS.resetsPerSecondMax + 1);
    await eventually(() => it.door.registry.count() === 0, "nothing is left open");
  });

  test.each([
    ["PING", frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ["SETTINGS", frame(FRAME.settings, 0, 0)],
  ])("%s frames, one after another", async (_what, flood) => {
    const it = await world(() => {});
    const raw = await frameClient(it.port);
    for (let i = 0; !raw.socket.destroyed && i < 5_000; i++) {
      raw.send(flood);
      await new Promise(setImmediate);
    }
    await eventually(() => it.door.refused.length > 0, "the log to be told");
    const detail = "control frames";
    expect(it.door.refused).toMatchObject([{ reason: "http2_flood", detail, peer: HOST }]);
  });

  const atOnce: readonly (readonly [string, string, () => readonly Buffer[]])[] = [
    [
      "requests given up, all at once",
      "frames or heads that are not read",
      () => Array.from({ length: 2_000 }, (_, i) => givenUp(1 + 2 * i)).flat(),
    ],
    [
      "a head in more than CONTINUATIONS_MAX frames",
      "CONTINUATION frames",
      () => [
        frame(FRAME.headers, END_STREAM, 1, head()),
        ...Array.from({ length: CONTINUATIONS_MAX + 1 }, (_, i) =>
          frame(FRAME.continuation, 0, 1, header(`x-${i}`, "y")),
        ),
      ],
    ],
    [
      "more than streamsMax requests at once",
      "streams",
      () =>
        Array.from({ length: HTTP2_LIMITS.streamsMax + 1 }, (_, i) =>
          frame(FRAME.headers, END_HEADERS | END_STREAM, 1 + 2 * i, head()),
        ),
    ],
    [
      "empty DATA frames",
      "frames or heads that are not read",
      () => [
        frame(FRAME.headers, END_HEADERS, 1, head({ ":method": "POST" })),
        ...Array.from({ length: HTTP2_LIMITS.invalidFramesMax + 2 }, () => frame(FRAME.data, 0, 1)),
      ],
    ],
  ];

  test.each(atOnce)("%s", async (_what, detail, flood) => {
    const it = await world((exchange) => {
      void exchange.readBody({ bytesMax: 1_000, timeoutMs: 5_000 });
    });
    const raw = await frameClient(it.port);
    raw.send(...flood());
    await eventually(() => raw.socket.destroyed, "the connection to be closed");
    await eventually(() => it.door.refused.length > 0, "the log to be told");
    expect(it.door.refused).toMatchObject([{ reason: "http2_flood", detail, peer: HOST }]);
    await eventually(() => it.door.registry.count() === 0, "nothing is left open");
    expect(it.door.faults).toEqual([]);
  });

  test.each([
    ["larger than headerListBytesMax", largeHead],
    ["of more headers than headerPairsMax", longHead],
  ])("nothing less: a head %s is reset, and no request is served", async (_what, unread) => {
    const it = await world(echo);
    const raw = await frameClient(it.port);
    raw.send(...unread(1));
    await eventually(() => raw.of(FRAME.reset).length === 1, "a reset");
    expect(raw.of(FRAME.reset)[0]?.payload.readUInt32BE(0)).toBe(
      constants.NGHTTP2_ENHANCE_YOUR_CALM,
    );
    raw.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 3, head({ ":method": "POST" })));
    await eventually(() => raw.of(FRAME.headers).length === 1, "an answer to the next");
    expect(it.exchanges.length).toBe(1);
  });

  test("more than streamsMax requests, of which bound it says not to have heard", async () => {
    const { streamsMax, invalidFramesMax } = HTTP2_LIMITS;
    const it = await world(() => {});
    const raw = await frameClient(it.port, { acknowledges: false });
    const asking = (_: unknown, i: number) =>
      frame(FRAME.headers, END_HEADERS | END_STREAM, 1 + 2 * i, head());
    const all = Array.from({ length: streamsMax + invalidFramesMax + 2 }, asking);
    raw.send(...all.slice(0, -2));
    await eventually(() => raw.of(FRAME.reset).length === invalidFramesMax, "a reset of each");
    expect(it.door.refused).toEqual([]);
    // The protocol library ends at the second above its bound.
    raw.send(...all.slice(-2));
    await eventually(() => it.door.refused.length > 0, "the log to be told");
    expect(it.door.refused).toMatchObject([{ reason: "http2_flood", detail: "streams" }]);
    expect(it.exchanges.length).toBe(streamsMax);
  });

  test("what is no HTTP/2", async () => {
    const it = await world(echo);
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"]) {
      const socket = connect(it.port, HOST, () => socket.write(bytes));
      socket.on("error", () => undefined);
      socket.resume();
      await once(socket, "close");
    }
    expect(it.door.refused.map(({ reason }) => reason)).toEqual([
      "malformed_http",
      "malformed_http",
    ]);
  });

  test("no request in its time, before the first one and after the last", async () => {
    const first = await world(echo, { headTimeoutMs: 30 });
    const silent = connect(first.port, HOST);
    silent.resume();
    await once(silent, "close");
    const session = client(await world(echo, { keepAliveTimeoutMs: 30 }));
    expect((await ask(session, {}, "x")).status).toBe(200);
    await once(session, "close");
  });
});

/** A request, and its end by its client. */
function givenUp(id: number): readonly Buffer[] {
  return [
    frame(FRAME.headers, END_HEADERS | END_STREAM, id, head()),
    frame(FRAME.reset, 0, id, Buffer.of(0, 0, 0, 8)),
  ];
}

/** A head that is too large to be read, in as many frames as it may have. */
function largeHead(id: number): readonly Buffer[] {
  const bytes = head(
    {},
    Array.from({ length: 7 }, (_, i) => header(`x-${i}`, "y".repeat(10_000))),
  );
  const pieces = Array.from({ length: Math.ceil(bytes.length / 16_000) }, (_, i) =>
    bytes.subarray(16_000 * i, 16_000 * (i + 1)),
  );
  return pieces.map((piece, i) =>
    frame(
      i === 0 ? FRAME.headers : FRAME.continuation,
      (i === 0 ? END_STREAM : 0) | (i === pieces.length - 1 ? END_HEADERS : 0),
      id,
      Buffer.from(piece),
    ),
  );
}

/** A head of too many headers to be read, though they are small. */
function longHead(id: number): readonly Buffer[] {
  const more = Array.from({ length: HTTP2_LIMITS.headerPairsMax }, (_, i) => header(`x-${i}`, "y"));
  return [frame(FRAME.headers, END_HEADERS | END_STREAM, id, head({}, more))];
}
