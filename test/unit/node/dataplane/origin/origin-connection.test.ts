import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { originDial } from "../../../../../node/dataplane/origin/dial-origin.ts";
import { OriginPool } from "../../../../../node/dataplane/origin-pool.ts";
import { twinClock } from "../../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../../support/comes-true.ts";
import { askOrigin } from "../ask-origin.ts";

const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

type RawServer = {
  readonly host: string;
  readonly pool: OriginPool;
  /** Connections in the order in which they were made. */
  readonly sockets: readonly Socket[];
  /** What was received on each. */
  readonly heard: readonly string[];
};

/** A server that says what a test says, byte for byte. */
async function rawServer(
  onHeard: (socket: Socket, heard: string) => void = () => undefined,
): Promise<RawServer> {
  const sockets: Socket[] = [];
  const heard: string[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const no = sockets.push(socket) - 1;
    heard[no] = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      heard[no] += chunk.toString("latin1");
      onHeard(socket, heard[no] as string);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const pool = new OriginPool({
    dial: originDial(`http://127.0.0.1:${port}`, { lookup: () => expect.unreachable() }),
    clock: twinClock(),
    connectTimeoutMs: 10_000,
    ageMsMax: 60_000,
    keepMs: 20_000,
  });
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await pool.destroy();
  };
  opened.push({ close });
  return { host: `127.0.0.1:${port}`, pool, sockets, heard };
}

const BODY = "content-length: 2\r\n\r\nok";
const OK = `HTTP/1.1 200 OK\r\n${BODY}`;
const FORGED = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";

describe("a request", () => {
  test("is written as it was asked, head and body together", async () => {
    const far = await rawServer((socket) => socket.write(OK));
    const headers = ["content-type", "application/json", "content-length", "2", "x", "\xe9"];
    const asked = { method: "POST", path: "/v1/x?y", headers, body: Buffer.from("{}") };
    expect(await askOrigin(far.pool, asked).whole).toBe("200 ok");
    expect(far.heard).toEqual([
      `POST /v1/x?y HTTP/1.1\r\nhost: ${far.host}\r\nconnection: keep-alive\r\n` +
        "content-type: application/json\r\nx: \xe9\r\ncontent-length: 2\r\n\r\n{}",
    ]);
  });

  test("that is large arrives whole, while an answer to it is waited for", async () => {
    const body = Buffer.alloc(3 * 1024 * 1024, "abc");
    const far = await rawServer((socket, heard) => {
      if (heard.length > body.length) socket.write(OK);
    });
    expect(await askOrigin(far.pool, { method: "POST", body }).whole).toBe("200 ok");
    expect(far.heard[0]?.slice(-body.length)).toBe(body.toString());
  });

  test("that was not read to its end leaves its connection to nobody", async () => {
    const far = await rawServer();
    const body = Buffer.alloc(64 * 1024 * 1024);
    const first = askOrigin(far.pool, { method: "POST", body });
    await comesTrue(() => expect(far.heard[0]?.length).toBeGreaterThan(0));
    far.sockets[0]?.pause();
    far.sockets[0]?.write(OK);
    expect(await first.whole).toBe("200 ok");
    await nextTurn();
    const next = askOrigin(far.pool);
    await comesTrue(() => expect(far.sockets).toHaveLength(2));
    far.sockets[1]?.write(OK);
    expect(await next.whole).toBe("200 ok");
  });

  test("is not made again when its connection is closed before an answer", async () => {
    const far = await rawServer((socket) => socket.destroy());
    await expect(askOrigin(far.pool).whole).rejects.toThrow();
    expect(far.heard).toHaveLength(1);
  });
});

describe("C2: an answer that nobody asked for", () => {
  test("ends a connection that is free, and answers nothing", async () => {
    const far = await rawServer((socket) => socket.write(OK));
    expect(await askOrigin(far.pool).whole).toBe("200 ok");
    await nextTurn();
    far.sockets[0]?.write(FORGED);
    await comesTrue(() => expect(far.pool.size).toBe(0));
    expect(await askOrigin(far.pool).whole).toBe("200 ok");
    expect(far.sockets).toHaveLength(2);
  });

  test("that comes in the turn in which the next request is made answers nothing", async () => {
    const far = await rawServer();
    const first = askOrigin(far.pool);
    await comesTrue(() => expect(far.heard[0]).toContain("\r\n\r\n"));
    // In the turn in which the client sees the end of its answer, the forged one is on its way.
    far.sockets[0]?.write(OK, () => far.sockets[0]?.write(FORGED));
    expect(await first.whole).toBe("200 ok");
    const next = askOrigin(far.pool);
    await comesTrue(() => expect(far.sockets).toHaveLength(2));
    far.sockets[1]?.write(OK);
    expect(await next.whole).toBe("200 ok");
  });

  test("behind another one ends the connection with it", async () => {
    const far = await rawServer((socket) => socket.write(OK + FORGED));
    for (let no = 1; no <= 3; no += 1) {
      expect(await askOrigin(far.pool).whole).toBe("200 ok");
      await nextTurn();
      expect(far.sockets).toHaveLength(no);
    }
    await comesTrue(() => expect(far.pool.size).toBe(0));
  });
});

describe("C3: a connection is not used again", () => {
  test.each([
    ["after an answer until its end", "GET", "HTTP/1.1 200 OK\r\n\r\nok", true],
    ["after one that says so", "GET", `HTTP/1.1 200 OK\r\nconnection: x, Close\r\n${BODY}`, false],
    ["of HTTP/1.0", "GET", `HTTP/1.0 200 OK\r\n${BODY}`, false],
    ["after HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false],
    [
      "after 204 with a body's length",
      "GET",
      "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n",
      false,
    ],
    ["after 304 in chunks", "GET", "HTTP/1.1 304 No\r\ntransfer-encoding: chunked\r\n\r\n", false],
  ])("%s", async (_name, method, answer, ends) => {
    const far = await rawServer((socket) => (ends ? socket.end(answer) : socket.write(answer)));
    for (let no = 1; no <= 2; no += 1) {
      await askOrigin(far.pool, { method }).whole;
      await nextTurn();
      expect(far.sockets).toHaveLength(no);
    }
    await comesTrue(() => expect(far.pool.size).toBe(0));
  });

  test.each([
    ["of HTTP/1.0 that says it stays", `HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n${BODY}`],
    ["in chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  ])("but after one %s it is", async (_name, answer) => {
    const far = await rawServer((socket) => socket.write(answer));
    for (let no = 1; no <= 2; no += 1) {
      expect(await askOrigin(far.pool).whole).toBe("200 ok");
      await nextTurn();
    }
    expect(far.sockets).toHaveLength(1);
  });
});

test("a connection for another protocol that is refused in the end serves no other call", async () => {
  const far = await rawServer((socket) => socket.write(OK));
  const refused = { upgrade: "websocket", mayWrite: () => false };
  askOrigin(far.pool, refused);
  await comesTrue(() => expect(far.sockets).toHaveLength(1));
  await comesTrue(() => expect(far.pool.size).toBe(0));
  expect(await askOrigin(far.pool).whole).toBe("200 ok");
  expect(far.sockets).toHaveLength(2);
  expect(far.heard[0]).toBe("");
});

describe("a fault", () => {
  test.each([
    ["no HTTP", "SSH-2.0-x\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"],
    ["a head until its end", "HTTP/1.1 200 OK\r\n"],
  ])("of %s is told once, and ends its connection", async (_name, answer) => {
    const far = await rawServer((socket) => socket.end(answer));
    const asked = askOrigin(far.pool);
    await expect(asked.whole).rejects.toThrow();
    expect(asked.status).toBe(0);
    await comesTrue(() => expect(far.pool.size).toBe(0));
  });

  test.each([
    ["a piece", "onBody", OK],
    ["the end", "onEnd", OK],
    ["an end with the connection's", "onEnd", "HTTP/1.1 200 OK\r\n\r\nok"],
  ] as const)("of whoever is told %s is one of the call", async (_name, told, answer) => {
    const far = await rawServer((socket) => socket.end(answer));
    const asked = askOrigin(far.pool, {
      [told]: () => {
        throw new Error("a bug");
      },
    });
    await expect(asked.whole).rejects.toThrow("a bug");
    await comesTrue(() => expect(far.pool.size).toBe(0));
  });
});

test("an answer that is given up in its midst tells no more, and its connection ends", async () => {
  const part = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
  const far = await rawServer((socket) => socket.write(part));
  const pieces: string[] = [];
  const asked = askOrigin(far.pool, {
    onBody: (control) => {
      pieces.push("piece");
      control.abort();
      far.sockets[0]?.write("2\r\nok\r\n0\r\n\r\n");
    },
  });
  await comesTrue(() => expect([pieces, far.pool.size]).toEqual([["piece"], 0]));
  const told = await Promise.race([asked.whole, Promise.resolve("nothing")]);
  expect(told).toBe("nothing");
});

test.each(["abort", "pause"] as const)(
  "C4: %s after a call's end does nothing to the next",
  async (what) => {
    const far = await rawServer();
    const first = askOrigin(far.pool);
    await comesTrue(() => expect(far.sockets).toHaveLength(1));
    far.sockets[0]?.write(OK);
    expect(await first.whole).toBe("200 ok");
    await nextTurn();
    const next = askOrigin(far.pool);
    await comesTrue(() => expect(far.heard[0]?.match(/GET /g)).toHaveLength(2));
    first.control?.[what]();
    far.sockets[0]?.write(OK);
    expect(await next.whole).toBe("200 ok");
    expect(far.sockets).toHaveLength(1);
  },
);

test("what was told of one answer is not overwritten by what is read later", async () => {
  const far = await rawServer((socket, heard) => {
    const letter = heard.split("GET ").length % 2 === 0 ? "a" : "b";
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n${letter.repeat(9)}`);
  });
  const first = askOrigin(far.pool);
  await first.whole;
  await nextTurn();
  const kept = first.bytes;
  expect(await askOrigin(far.pool).whole).toBe(`200 ${"b".repeat(9)}`);
  expect(kept.toString()).toBe("a".repeat(9));
  expect(far.sockets).toHaveLength(1);
});
