import { describe, expect, test } from "vitest";
import type { Exchange } from "../../../../node/dataplane/exchange.ts";
import {
  codeOf,
  eventually,
  openDoor,
  rawClient,
  refusalOf,
  sendAndDrain,
  statusesOf,
} from "./door.ts";

const answerOk = (exchange: Exchange) =>
  exchange.answer({ status: 200, headers: [], body: Buffer.from(exchange.head.target) });

const readAndAnswer = async (exchange: Exchange) => {
  const body = await exchange.readBody({ bytesMax: 1_000, timeoutMs: 5_000 });
  if (typeof body === "string") exchange.answer(refusalOf(400, body));
  else exchange.answer({ status: 200, headers: [], body });
};

const HEAD = "GET / HTTP/1.1\r\nHost: a\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\n";
const H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n";
const CHUNKED = "3\r\nabc\r\n0\r\n\r\n";

describe("a request that two readers could read in two ways is refused and its connection closed", () => {
  test.each<[string, string, number, string]>([
    [
      "Content-Length before Transfer-Encoding",
      `${POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    [
      "Transfer-Encoding before Content-Length",
      `${POST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    [
      "two equal Content-Lengths",
      `${POST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
      400,
      "malformed_http",
    ],
    [
      "two different Content-Lengths",
      `${POST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
      400,
      "malformed_http",
    ],
    ["a list of Content-Lengths", `${POST}Content-Length: 3, 3\r\n\r\nabc`, 400, "malformed_http"],
    ["a signed Content-Length", `${POST}Content-Length: +3\r\n\r\nabc`, 400, "malformed_http"],
    [
      "a Content-Length beyond 64 bits",
      `${POST}Content-Length: 99999999999999999999\r\n\r\nabc`,
      400,
      "malformed_http",
    ],
    [
      "a Content-Length beyond 15 digits",
      `${POST}Content-Length: 0000000000000003\r\n\r\nabc`,
      400,
      "malformed_http",
    ],
    [
      "a second transfer coding",
      `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    [
      "two Transfer-Encodings",
      `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    [
      "the identity coding",
      `${POST}Transfer-Encoding: identity\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    [
      "a coding that ends in chunked",
      `${POST}Transfer-Encoding: xchunked\r\n\r\n${CHUNKED}`,
      400,
      "malformed_http",
    ],
    ["two Hosts", `${HEAD}Host: b\r\n\r\n`, 400, "malformed_http"],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "malformed_http"],
    ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "malformed_http"],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed_http"],
    ["a folded header", `${HEAD}X: a\r\n b\r\n\r\n`, 400, "malformed_http"],
    ["a bare LF after the request line", "GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_http"],
    ["a bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "malformed_http"],
    ["a bare CR in a header", `${HEAD}X: a\rb\r\n\r\n`, 400, "malformed_http"],
    ["a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed_http"],
    ["a NUL in a header", `${HEAD}X: a\0b\r\n\r\n`, 400, "malformed_http"],
    ["a target with a NUL", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["an absolute target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["an asterisk target", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["HTTP/2.0 in a request line", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, "malformed_http"],
    ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_http"],
    ["no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00", 400, "malformed_http"],
    [
      "another protocol",
      `${HEAD}Connection: Upgrade\r\nUpgrade: spdy/3\r\n\r\n`,
      403,
      "upgrade_refused",
    ],
    ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_allowed"],
    [
      "CONNECT with a body",
      "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
      405,
      "method_not_allowed",
    ],
    ["a head over 16 KiB", `${HEAD}X: ${"a".repeat(17_000)}\r\n\r\n`, 431, "head_too_large"],
    [
      "a target over 16 KiB",
      `GET /${"a".repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      431,
      "head_too_large",
    ],
    ["129 headers", `${HEAD}${"a:\r\n".repeat(128)}\r\n`, 431, "head_too_large"],
    ["3,000 headers", `${HEAD}${"a:\r\n".repeat(3_000)}\r\n`, 431, "head_too_large"],
  ])("%s", async (_name, request, status, code) => {
    let served = 0;
    const serve = (exchange: Exchange) => {
      served++;
      answerOk(exchange);
    };
    // None of them may have to wait for the end of a body that was never framed.
    const door = await openDoor(serve, { limits: { lingerTimeoutMs: 60_000 } });
    const text = await sendAndDrain(door.port, request);
    expect(statusesOf(text)).toEqual([status]);
    expect(codeOf(text)).toBe(code);
    expect(text).toMatch(new RegExp(`x-altrace-reason: ${code}\r\n`, "i"));
    expect(text).toMatch(/^connection: close\r$/im);
    expect(served).toBe(0);
    expect(door.refused.map(({ reason }) => reason)).toEqual([code]);
    await eventually(() => door.gateway.connectionCount() === 0, "the connection is gone");
    expect(door.registry.count()).toBe(0);
    expect(door.faults).toEqual([]);
  });

  test("a broken chunk ends the reading of its body", async () => {
    const door = await openDoor(readAndAnswer);
    const text = await sendAndDrain(
      door.port,
      `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc`,
    );
    expect(statusesOf(text)).toEqual([400]);
    expect(codeOf(text)).toBe("malformed_http");
  });

  test("a chunk that was broken before its body is read is told to the reader", async () => {
    const door = await openDoor(async (exchange) => {
      await new Promise((resolve) => setImmediate(resolve));
      await readAndAnswer(exchange);
    });
    const text = await sendAndDrain(
      door.port,
      `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc`,
    );
    expect(codeOf(text)).toBe("malformed_http");
  });

  test("CONNECT behind another request is refused in its turn", async () => {
    const door = await openDoor(answerOk);
    const text = await sendAndDrain(
      door.port,
      `${HEAD}\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
    expect(statusesOf(text)).toEqual([200, 405]);
    expect(codeOf(text)).toBe("method_not_allowed");
  });

  test("a head over another head_bytes_max is too large as well", async () => {
    const door = await openDoor(answerOk, { limits: { headBytesMax: 1_000 } });
    const text = await sendAndDrain(door.port, `${HEAD}X: ${"a".repeat(1_000)}\r\n\r\n`);
    expect(codeOf(text)).toBe("head_too_large");
  });

  test("a bare LF after a chunk's size is a broken chunk", async () => {
    const door = await openDoor(readAndAnswer);
    const text = await sendAndDrain(
      door.port,
      `${POST}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n`,
    );
    expect(codeOf(text)).toBe("malformed_http");
  });

  test("garbage behind a request is refused in its turn, and nothing is read behind it", async () => {
    const door = await openDoor(answerOk);
    const text = await sendAndDrain(door.port, `${HEAD}\r\nGARBAGE\r\n\r\n${HEAD}\r\n`);
    expect(statusesOf(text)).toEqual([200, 400]);
    expect(codeOf(text)).toBe("malformed_http");
  });
});

describe("what is well-formed is served", () => {
  test("a head that names its limits exactly", async () => {
    const door = await openDoor(answerOk);
    const client = await rawClient(door.port);
    client.socket.write(`${HEAD}${"a:\r\n".repeat(127)}\r\n`);
    expect(statusesOf(await client.until(/\r\n\r\n/))).toEqual([200]);
  });

  test("an offer of h2c is left unanswered, and its body is the request's", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(`${POST}${H2C}Content-Length: 3\r\n\r\nabc`);
    expect(await client.until(/abc$/)).toMatch(
      /^HTTP\/1\.1 200 .*\r\nconnection: keep-alive\r\n/is,
    );
  });

  test.each([
    ["with a body", `${POST}${H2C}Content-Length: 3\r\n\r\nabc`, "abc"],
    ["without one", `${HEAD}${H2C}\r\n`, ""],
  ])(
    "what follows an offer of h2c %s is the next request, to the byte, in whatever pieces it comes",
    async (_, offered, said) => {
      const bodies: string[] = [];
      const door = await openDoor(async (exchange) => {
        const body = await exchange.readBody({ bytesMax: 1_000, timeoutMs: 5_000 });
        bodies.push(`${exchange.head.target} ${body}`);
        answerOk(exchange);
      });
      const client = await rawClient(door.port);
      const within = `GET /within HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`;
      const next = `POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: ${within.length}\r\n\r\n`;
      client.socket.write(`${offered}${next}`);
      await client.until(/\r\n\r\n/);
      client.socket.write(within);
      await client.until(/\/next$/);
      expect(bodies).toEqual([`/ ${said}`, `/next ${within}`]);
      expect(statusesOf(client.text())).toEqual([200, 200]);
    },
  );

  test("a chunked body is read whole", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`);
    expect(await client.until(/abc$/)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("an unknown expectation is ignored", async () => {
    const door = await openDoor(answerOk);
    const client = await rawClient(door.port);
    client.socket.write(`${HEAD}Expect: wonders\r\n\r\n`);
    expect(statusesOf(await client.until(/\r\n\r\n/))).toEqual([200]);
  });

  test("the head stands in the exchange as it was received, before any of it is judged", async () => {
    const heads: Exchange["head"][] = [];
    const door = await openDoor((exchange) => {
      heads.push(exchange.head);
      answerOk(exchange);
    });
    const client = await rawClient(door.port);
    client.socket.write("GET /v1?q=%20 HTTP/1.1\r\nHOST: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    await client.until(/\r\n\r\n/);
    expect(heads).toEqual([
      {
        method: "GET",
        target: "/v1?q=%20",
        rawHeaders: ["HOST", "a", "X-A", "1", "x-a", "2"],
        peer: "127.0.0.1",
      },
    ]);
  });
});

describe("Expect: 100-continue", () => {
  const EXPECTING = `${POST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`;

  test("is answered once the body is wanted", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(EXPECTING);
    await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    client.socket.write("abc");
    expect(statusesOf(await client.until(/abc$/))).toEqual([100, 200]);
  });

  test("gets a refusal and no 100", async () => {
    const door = await openDoor((exchange) => exchange.answer(refusalOf(403, "killed_agent")));
    const client = await rawClient(door.port);
    client.socket.write(EXPECTING);
    await client.until(/killed_agent/);
    client.socket.end();
    expect(await client.closed).toBe("fin");
    expect(statusesOf(client.text())).toEqual([403]);
  });

  test("gets no 100 for a body that is declared too large", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n`);
    expect(statusesOf(await client.until(/body_too_large/))).toEqual([400]);
  });
});

describe("a body", () => {
  test("that is declared too large is refused unread", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Content-Length: 1001\r\n\r\n`);
    await client.until(/body_too_large/);
  });

  test("that turns out too large is refused at the first byte above", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(
      `${POST}Transfer-Encoding: chunked\r\n\r\n3e8\r\n${"a".repeat(1_000)}\r\n1\r\na`,
    );
    await client.until(/body_too_large/);
  });

  test("of exactly the limit is read", async () => {
    const door = await openDoor(readAndAnswer);
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Transfer-Encoding: chunked\r\n\r\n`);
    for (let i = 0; i < 1_000; i++) client.socket.write("1\r\na\r\n");
    client.socket.write("0\r\n\r\n");
    await client.until(/a{1000}$/);
  });

  test("that comes too slowly is refused", async () => {
    const door = await openDoor(async (exchange) => {
      const body = await exchange.readBody({ bytesMax: 1_000, timeoutMs: 50 });
      exchange.answer(refusalOf(408, String(body)));
    });
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Content-Length: 3\r\n\r\na`);
    expect(statusesOf(await client.until(/body_too_slow/))).toEqual([408]);
  });

  test("whose client goes away is client_gone", async () => {
    const bodies: unknown[] = [];
    const door = await openDoor(async (exchange) => {
      bodies.push(await exchange.readBody({ bytesMax: 1_000, timeoutMs: 5_000 }));
    });
    const client = await rawClient(door.port);
    client.socket.write(`${POST}Content-Length: 3\r\n\r\na`);
    await eventually(() => door.registry.count() === 1, "the exchange is registered");
    client.socket.destroy();
    await eventually(() => bodies.length === 1, "the read ended");
    expect(bodies).toEqual(["client_gone"]);
    expect(door.registry.count()).toBe(0);
  });
});

describe("a head", () => {
  test("that comes too slowly is answered and closed", async () => {
    const door = await openDoor(answerOk, { limits: { headTimeoutMs: 100, headSweepMs: 20 } });
    const client = await rawClient(door.port);
    client.socket.write("GET / HTTP/1.1\r\nHo");
    await client.closed;
    expect(statusesOf(client.text())).toEqual([408]);
  });

  test("of which no byte came is closed without a word", async () => {
    const door = await openDoor(answerOk, { limits: { headTimeoutMs: 100, headSweepMs: 20 } });
    const client = await rawClient(door.port);
    await client.closed;
    expect(client.text()).toBe("");
    expect(door.refused).toEqual([]);
  });

  test("that the client breaks off is closed", async () => {
    const door = await openDoor(answerOk);
    const client = await rawClient(door.port);
    client.socket.end("GET / HTTP/1.1\r\nHo");
    await client.closed;
    expect(client.text()).toBe("");
  });
});

describe("requests on one connection", () => {
  const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

  test("are served one at a time, in their order", async () => {
    let running = 0;
    let most = 0;
    const door = await openDoor(async (exchange) => {
      running++;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      answerOk(exchange);
    });
    const client = await rawClient(door.port);
    client.socket.write(get("/1") + get("/2") + get("/3"));
    const text = await client.until(/\/3$/);
    expect(most).toBe(1);
    expect([...text.matchAll(/\r\n\r\n(\/\d)/g)].map((match) => match[1])).toEqual([
      "/1",
      "/2",
      "/3",
    ]);
  });

  test("behind a refusal are not served", async () => {
    const targets: string[] = [];
    const door = await openDoor((exchange) => {
      targets.push(exchange.head.target);
      exchange.answer(refusalOf(403, "killed_agent"));
    });
    const text = await sendAndDrain(door.port, get("/1") + get("/2"));
    expect(statusesOf(text)).toEqual([403]);
    expect(targets).toEqual(["/1"]);
  });

  test("above waiting_bytes_max are read once there is room for them, and none is lost", async () => {
    const targets: string[] = [];
    let first: Exchange | undefined;
    const door = await openDoor(
      (exchange) => {
        targets.push(exchange.head.target);
        if (targets.length === 1) first = exchange;
        else answerOk(exchange);
      },
      { limits: { waitingBytesMax: 64 } },
    );
    const client = await rawClient(door.port);
    const all = Array.from({ length: 50 }, (_, no) => `/${no}`);
    client.socket.write(get("/0"));
    await eventually(() => first !== undefined, "the first is served");
    for (const one of all.slice(1)) {
      client.socket.write(get(one));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(targets).toEqual(["/0"]);
    answerOk(first as Exchange);
    await client.until(/\/49$/);
    expect(targets).toEqual(all);
    expect(statusesOf(client.text())).toEqual(all.map(() => 200));
  });

  test("end with one that says that it is the last", async () => {
    const targets: string[] = [];
    const door = await openDoor((exchange) => {
      targets.push(exchange.head.target);
      answerOk(exchange);
    });
    const closing = `GET /last HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n`;
    const text = await sendAndDrain(door.port, `${get("/1")}${closing}${get("/3")}`);
    expect(statusesOf(text)).toEqual([200, 200]);
    expect(text).toMatch(/connection: close\r\n.*\/last$/is);
    expect(targets).toEqual(["/1", "/last"]);
  });
});

describe("admission", () => {
  test("refuses what is above the cap, and admits again when there is room", async () => {
    const held: Exchange[] = [];
    const door = await openDoor((exchange) => void held.push(exchange), { connectionsMax: 2 });
    const [first, second] = [await rawClient(door.port), await rawClient(door.port)];
    for (const client of [first, second]) client.socket.write(`${HEAD}\r\n`);
    await eventually(() => held.length === 2, "both are served");
    const third = await rawClient(door.port);
    await third.closed;
    expect(codeOf(third.text())).toBe("too_many_connections");
    expect(door.gateway.connectionCount()).toBe(2);
    first.socket.destroy();
    await eventually(() => door.gateway.connectionCount() === 1, "there is room");
    const fourth = await rawClient(door.port);
    fourth.socket.write(`${HEAD}\r\n`);
    await eventually(() => held.length === 3, "the fourth is served");
  });

  test("closes more than turned_away_max at once without an answer", async () => {
    const door = await openDoor(() => {}, { connectionsMax: 0, limits: { turnedAwayMax: 1 } });
    const first = await rawClient(door.port);
    await first.until(/too_many_connections/);
    const second = await rawClient(door.port);
    await second.closed;
    expect(second.text()).toBe("");
  });

  test("makes room by closing the connection that has been idle for longest", async () => {
    const door = await openDoor(answerOk, { connectionsMax: 2, limits: { idleEvictableMs: 0 } });
    const first = await rawClient(door.port);
    const second = await rawClient(door.port);
    for (const client of [second, first]) {
      client.socket.write(`${HEAD}\r\n`);
      await client.until(/\r\n\r\n/);
    }
    const third = await rawClient(door.port);
    await second.closed;
    third.socket.write(`${HEAD}\r\n`);
    await third.until(/\r\n\r\n/);
    expect(first.socket.destroyed).toBe(false);
  });

  test("does not close an idle connection that may just not have been read yet", async () => {
    const door = await openDoor(answerOk, {
      connectionsMax: 1,
      limits: { idleEvictableMs: 60_000 },
    });
    const first = await rawClient(door.port);
    const second = await rawClient(door.port);
    await second.closed;
    expect(codeOf(second.text())).toBe("too_many_connections");
    first.socket.write(`${HEAD}\r\n`);
    await first.until(/\r\n\r\n/);
  });
});

describe("a bug in what serves an exchange", () => {
  test("refuses that exchange when nothing was said", async () => {
    const door = await openDoor(() => {
      throw new Error("bug");
    });
    const text = await sendAndDrain(door.port, `${HEAD}\r\n`);
    expect(statusesOf(text)).toEqual([503]);
    expect(codeOf(text)).toBe("stage_failed");
    expect(door.faults).toHaveLength(1);
  });

  test("refuses it when the bug comes late", async () => {
    const door = await openDoor(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error("bug");
    });
    expect(codeOf(await sendAndDrain(door.port, `${HEAD}\r\n`))).toBe("stage_failed");
  });

  test("breaks off an answer that was begun", async () => {
    const door = await openDoor(async (exchange) => {
      exchange.begin(200, []);
      exchange.write(Buffer.from("half"));
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error("bug");
    });
    const client = await rawClient(door.port);
    client.socket.write(`${HEAD}\r\n`);
    expect(await client.closed).toBe("rst");
  });
});

describe("closing the door", () => {
  test("stopAccepting lets a running exchange end and closes its connection", async () => {
    let running: Exchange | undefined;
    const door = await openDoor((exchange) => {
      running = exchange;
    });
    const client = await rawClient(door.port);
    client.socket.write(`${HEAD}\r\n`);
    await eventually(() => running !== undefined, "it runs");
    door.gateway.stopAccepting();
    await expect(rawClient(door.port)).rejects.toThrow("ECONNREFUSED");
    answerOk(running as Exchange);
    expect(await client.closed).toBe("fin");
    expect(client.text()).toMatch(/connection: close/i);
  });

  test("close cuts what runs and resolves when nothing is open", async () => {
    const door = await openDoor((exchange) =>
      exchange.onCut(() => exchange.answer(refusalOf(503, "draining"))),
    );
    const clients = [await rawClient(door.port), await rawClient(door.port)];
    clients[0]?.socket.write(`${HEAD}\r\n`);
    await eventually(() => door.registry.count() === 1, "one runs");
    await door.gateway.close();
    await Promise.all(clients.map((client) => client.closed));
    expect(codeOf(clients[0]?.text() ?? "")).toBe("draining");
    expect(door.gateway.connectionCount()).toBe(0);
  });
});
