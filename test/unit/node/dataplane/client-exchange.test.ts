import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import type { Cut, Exchange, Via } from "../../../../node/dataplane/exchange.ts";
import { CUT_FLUSH_MS } from "../../../../node/dataplane/teardown.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { type Door, eventually, HOST, openDoor, rawClient, refusalOf, statusesOf } from "./door.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
const CAPTURED: Via = {
  host: "a",
  port: 443,
  door: "transparent",
  original: "192.0.2.1:443",
  agentId: "red/worker",
  keyHandle: "k",
  isContract: false,
};
const FRAME = Buffer.from('data: {"error":{"code":"killed_agent"}}\n\n');

/** A door whose exchanges wait for the test, claimed by one agent. */
async function openWaitingDoor(onExchange?: (exchange: Exchange) => void) {
  const exchanges: Exchange[] = [];
  const door = await openDoor((exchange) => {
    exchange.claim("red/worker", undefined);
    exchanges.push(exchange);
    onExchange?.(exchange);
  });
  return { door, exchanges };
}

const killAgent = ({ registry }: Door) => registry.cutScope("agent", "agent/red/worker");

/** Begins a stream that says its last word when it is cut, as a relay does. */
function stream(exchange: Exchange): void {
  exchange.markStreaming();
  exchange.begin(200, ["content-type", "text/event-stream"]);
  exchange.write(Buffer.from("data: 1\n\n"));
  exchange.onCut(() => exchange.cut(FRAME));
}

describe("a level of the ladder", () => {
  const climb = ({ registry }: Door, level: "quarantine" | "block") =>
    registry.cutAtLevel("red/worker", level);

  test("quarantine ends a stream in which tools may be called, and says so", async () => {
    const cuts: Cut[] = [];
    const { door, exchanges } = await openWaitingDoor((exchange) => {
      exchange.markToolStream();
      exchange.onCut((cut) => cuts.push(cut));
      stream(exchange);
    });
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    expect(await climb(door, "block")).toMatchObject({ count: 0 });
    expect(await climb(door, "quarantine")).toMatchObject({ count: 1 });
    expect(cuts).toEqual([{ by: "reason", reason: "quarantined" }]);
  });

  test("other answers over HTTP end by themselves", async () => {
    const { door, exchanges } = await openWaitingDoor(stream);
    (await rawClient(door.port)).socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    for (const level of ["quarantine", "block"] as const) {
      expect(await climb(door, level)).toMatchObject({ count: 0 });
    }
    expect(door.registry.count()).toBe(1);
  });
});

describe("a relayed answer", () => {
  test("leaves in the order it was written and keeps the connection", async () => {
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, ["x-a", "1"]);
      for (const text of ["a", "b", "c"]) exchange.write(Buffer.from(text));
      exchange.end();
    });
    for (let i = 0; i < 2; i++) {
      const answer = await fetch(door.url);
      expect([answer.headers.get("x-a"), await answer.text()]).toEqual(["1", "abc"]);
    }
    expect(door.registry.count()).toBe(0);
  });

  test("shows its head before its first chunk is there", async () => {
    const { door } = await openWaitingDoor((exchange) => exchange.begin(200, ["x-a", "1"]));
    const client = await rawClient(door.port);
    client.socket.write(GET);
    expect(await client.until(/\r\n\r\n$/)).toMatch(/x-a: 1\r\n/);
  });

  test("stops at a reader that does not read, and goes on when it does", async () => {
    const chunk = Buffer.alloc(64 * 1024);
    let written = 0;
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, []);
      const fill = () => {
        while (written < 50_000_000) {
          written += chunk.length;
          if (!exchange.write(chunk)) return;
        }
        exchange.end();
      };
      exchange.onDrain(fill);
      fill();
    });
    const answer = await fetch(door.url);
    const [info] = await settledList(door);
    expect(info?.bytesDown).toBeLessThan(20_000_000);
    expect((await answer.arrayBuffer()).byteLength).toBe(written);
    expect(written).toBeGreaterThanOrEqual(50_000_000);
  });

  test("is broken off when its reader takes nothing for stalled_reader_ms", async () => {
    const gone: string[] = [];
    const door = await openDoor(
      (exchange) => {
        exchange.onGone(() => gone.push(exchange.requestId));
        exchange.begin(200, []);
        exchange.write(Buffer.alloc(32_000_000));
      },
      { limits: { stalledReaderMs: 100 } },
    );
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(GET);
    await eventually(() => gone.length === 1, "the exchange is over");
    expect(door.registry.count()).toBe(0);
  });

  test("is broken off when it was written whole and its reader takes nothing more", async () => {
    const gone: string[] = [];
    const sockets: Socket[] = [];
    const door = await openDoor(
      async (exchange) => {
        exchange.onGone(() => gone.push(exchange.requestId));
        exchange.begin(200, []);
        // Small writes, so that none of them says that the reader is behind.
        do {
          expect(exchange.write(Buffer.alloc(16_000))).toBe(true);
          await new Promise((resolve) => setImmediate(resolve));
        } while (sockets[0]?.writableLength === 0);
        exchange.end();
      },
      { limits: { stalledReaderMs: 100 } },
    );
    const carrying = createServer((socket) => {
      sockets.push(socket);
      door.gateway.serve(socket, CAPTURED);
    });
    carrying.listen(0, HOST);
    onTestFinished(() => void carrying.close());
    await once(carrying, "listening");
    const client = await rawClient((carrying.address() as AddressInfo).port);
    client.socket.pause();
    client.socket.write(GET);
    await eventually(() => gone.length === 1, "the exchange is over");
    expect(door.faults).toEqual([]);
  });

  test("is broken off when its reader takes a little again and again, after slow_reader_ms", async () => {
    const clock = twinClock();
    const limits = { stalledReaderMs: 100, slowReaderMs: 250 };
    let gone = 0;
    const door = await openDoor(
      (exchange) => {
        exchange.onGone(() => {
          gone += 1;
        });
        exchange.answer({ status: 200, headers: [], body: Buffer.alloc(100_000_000) });
      },
      { clock, limits },
    );
    const socket = connect(door.port, HOST);
    onTestFinished(() => void socket.destroy());
    let [bytes, enough] = [0, 0];
    socket
      .on("error", () => undefined)
      .on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= enough) socket.pause();
      });
    // More than the kernel holds, so that the far side has got rid of some.
    const takeSome = async (): Promise<void> => {
      enough = bytes + 16_000_000;
      socket.resume();
      await eventually(() => bytes >= enough, "some of it");
    };
    socket.write(GET);
    await takeSome();
    clock.advance(limits.stalledReaderMs);
    // Taken by now of what was one write.
    await takeSome();
    clock.advance(limits.stalledReaderMs);
    await takeSome();
    expect([gone, door.registry.count()]).toEqual([0, 1]);
    clock.advance(limits.stalledReaderMs);
    await eventually(() => gone === 1, "it is broken off");
    expect([door.registry.count(), door.faults]).toEqual([0, []]);
  });

  test("is not begun twice", async () => {
    const { door, exchanges } = await openWaitingDoor((exchange) => exchange.begin(200, []));
    (await rawClient(door.port)).socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    expect(() => exchanges[0]?.begin(200, [])).toThrow("answered once");
    expect(() => exchanges[0]?.answer(refusalOf(403, "x"))).toThrow("answered once");
  });

  test("takes neither Connection nor Transfer-Encoding from its caller", async () => {
    const { door, exchanges } = await openWaitingDoor();
    (await rawClient(door.port)).socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    expect(() => exchanges[0]?.begin(200, ["Connection", "close"])).toThrow("not the caller's");
  });
});

test("a client that asks on and on and reads nothing is closed after stalled_reader_ms", async () => {
  const body = Buffer.alloc(1_000_000);
  let served = 0;
  const door = await openDoor(
    (exchange) => {
      served++;
      exchange.answer({ status: 200, headers: [], body });
    },
    { limits: { stalledReaderMs: 100 } },
  );
  const client = await rawClient(door.port);
  client.socket.pause();
  const asking = setInterval(() => client.socket.write(GET), 1);
  await eventually(() => served > 2 && door.gateway.connectionCount() === 0, "it is closed");
  clearInterval(asking);
  expect(door.registry.count()).toBe(0);
});

test("a chunked body that came with its head is bounded like any other", async () => {
  const read: unknown[] = [];
  const door = await openDoor(async (exchange) => {
    read.push(await exchange.readBody({ bytesMax: 3, timeoutMs: 1_000 }));
    exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") });
  });
  const client = await rawClient(door.port);
  const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  client.socket.write(`${head}3\r\nabc\r\n0\r\n\r\n${head}2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n`);
  await eventually(() => read.length === 2, "both are read");
  expect(read.map(String)).toEqual(["abc", "body_too_large"]);
});

test("no two bodies share memory, so that each may be given to another thread", async () => {
  const bodies: Buffer[] = [];
  const door = await openDoor(async (exchange) => {
    bodies.push((await exchange.readBody({ bytesMax: 10, timeoutMs: 1_000 })) as Buffer);
    exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") });
  });
  const client = await rawClient(door.port);
  const head = "POST / HTTP/1.1\r\nHost: a\r\n";
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;
  client.socket.write(GET + GET);
  client.socket.write(`${chunked}0\r\n\r\n`.repeat(2));
  client.socket.write(`${head}Content-Length: 2\r\n\r\nab`.repeat(2));
  client.socket.write(`${chunked}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`.repeat(2));
  await eventually(() => bodies.length === 8, "all are read");
  expect(bodies.map(String)).toEqual(["", "", "", "", "ab", "ab", "ab", "ab"]);
  expect(new Set(bodies.map(({ buffer }) => buffer)).size).toBe(8);
});

describe("a client that goes away", () => {
  test("is told once, and what is said to it afterwards is nothing", async () => {
    let gone = 0;
    const { door, exchanges } = await openWaitingDoor((exchange) => {
      exchange.onGone(() => gone++);
      exchange.begin(200, []);
      exchange.write(Buffer.from("a"));
    });
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/a/);
    client.socket.destroy();
    await eventually(() => gone === 1, "it is noticed");
    const exchange = exchanges[0] as Exchange;
    expect(exchange.write(Buffer.from("b"))).toBe(true);
    exchange.end();
    exchange.cut(FRAME);
    exchange.answer(refusalOf(403, "x"));
    exchange.onGone(() => gone++);
    expect(gone).toBe(2);
    expect([door.registry.count(), door.faults]).toEqual([0, []]);
  });

  test("is told of one that ends its side, whatever it sent before that", async () => {
    let gone = 0;
    const { door, exchanges } = await openWaitingDoor((exchange) => exchange.onGone(() => gone++));
    const client = await rawClient(door.port);
    client.socket.end(GET + GET);
    await eventually(() => gone === 1, "it is noticed");
    await client.closed;
    expect([exchanges.length, client.text(), door.registry.count()]).toEqual([1, "", 0]);
  });

  test("is not told of an answer that was sent whole", async () => {
    let gone = 0;
    const { door } = await openWaitingDoor((exchange) => {
      exchange.onGone(() => gone++);
      exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") });
    });
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/ok/);
    client.socket.destroy();
    await eventually(() => door.gateway.connectionCount() === 0, "the connection is gone");
    expect(gone).toBe(0);
  });
});

describe("a kill", () => {
  test("lets a stream say so in its last frame, then closes", async () => {
    const { door } = await openWaitingDoor(stream);
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/data: 1/);
    const before = systemClock.monoNs();
    const { count, lastClosedNs } = await killAgent(door);
    expect(count).toBe(1);
    expect(lastClosedNs).toBeGreaterThan(before);
    expect(await client.closed).toBe("fin");
    expect(client.text()).toMatch(/killed_agent.*\n\n\r\n0\r\n\r\n$/s);
    expect([door.registry.count(), door.gateway.connectionCount()]).toEqual([0, 0]);
  });

  test.each([
    ["a stream", stream],
    [
      "who waits",
      (exchange: Exchange) => exchange.onCut(() => exchange.answer(refusalOf(403, "killed_agent"))),
    ],
  ])("that the kernel has as well resets %s, if it was captured", async (_, begin) => {
    const { door, exchanges } = await openWaitingDoor(begin);
    const captured = createServer((socket) => door.gateway.serve(socket, CAPTURED));
    captured.listen(0, HOST);
    onTestFinished(() => void captured.close());
    await once(captured, "listening");
    const client = await rawClient((captured.address() as AddressInfo).port);
    const other = await rawClient(door.port);
    for (const { socket } of [client, other]) socket.write(GET);
    await eventually(() => exchanges.length === 2, "both are served");
    const { count } = await door.registry.cutScope("agent", "agent/red/worker", { isGated: true });
    expect(count).toBe(2);
    expect(await client.closed).toBe("rst");
    expect(client.text()).not.toContain("killed_agent");
    // Whoever came by another door is not behind that gate, and is told.
    expect(await other.closed).toBe("fin");
  });

  test("leaves an answer without a last frame unfinished, which fetch reports", async () => {
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, []);
      exchange.write(Buffer.from("half"));
      exchange.onCut(() => exchange.cut(undefined));
    });
    const answer = await fetch(door.url);
    await killAgent(door);
    await expect(answer.text()).rejects.toThrow("terminated");
  });

  test("adds no frame to an answer whose length was declared", async () => {
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, ["content-length", "100"]);
      exchange.write(Buffer.from("half"));
      exchange.onCut(() => exchange.cut(FRAME));
    });
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/half/);
    await killAgent(door);
    await client.closed;
    expect(client.text()).not.toMatch(/killed_agent/);
  });

  test("is answered as a refusal where no answer has begun, and ends the reading of a body", async () => {
    const bodies: unknown[] = [];
    const cuts: Cut[] = [];
    const door = await openDoor(async (exchange) => {
      exchange.claim("red/worker", undefined);
      exchange.onCut((cut) => cuts.push(cut));
      bodies.push(await exchange.readBody({ bytesMax: 100, timeoutMs: 60_000 }));
      exchange.answer(refusalOf(403, String(bodies[0])));
    });
    const client = await rawClient(door.port);
    client.socket.write(POST);
    await eventually(() => door.registry.countOf("red/worker") === 1, "it is claimed");
    const killed = killAgent(door);
    await client.until(/killed_agent/);
    client.socket.write("0123456789");
    expect(await killed).toMatchObject({ count: 1 });
    expect(await client.closed).toBe("fin");
    expect(statusesOf(client.text())).toEqual([403]);
    expect([cuts, bodies]).toEqual([[{ by: "agent" }], ["killed_agent"]]);
  });

  test(`resets what is silent about it after ${CUT_FLUSH_MS} ms`, async () => {
    const { door, exchanges } = await openWaitingDoor();
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    expect(await killAgent(door)).toMatchObject({ count: 1 });
    expect(await client.closed).toBe("rst");
  });

  test("resets a reader that does not take its last frame", async () => {
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, []);
      exchange.write(Buffer.alloc(32_000_000));
      exchange.onCut(() => exchange.cut(FRAME));
    });
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(GET);
    await eventually(() => door.registry.count() === 1, "it is served");
    expect(await killAgent(door)).toMatchObject({ count: 1 });
    expect(door.gateway.connectionCount()).toBe(0);
  });

  test("reaches an answer that is handed over whole and not yet taken", async () => {
    const { door } = await openWaitingDoor((exchange) => {
      exchange.begin(200, []);
      exchange.write(Buffer.alloc(32_000_000));
      exchange.end();
    });
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(GET);
    await eventually(() => door.registry.count() === 1, "it is served");
    expect(await killAgent(door)).toMatchObject({ count: 1 });
    expect(door.registry.count()).toBe(0);
  });

  test("reaches every leg, though the code of one throws", async () => {
    const legs: string[] = [];
    const { door } = await openWaitingDoor((exchange) => {
      stream(exchange);
      exchange.onCut(() => {
        throw new Error("bug");
      });
      exchange.onCut(() => legs.push("upstream"));
    });
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/data: 1/);
    await killAgent(door);
    expect([legs, door.faults.length]).toEqual([["upstream"], 1]);
  });

  test("that came earlier is told to a leg that is opened later", async () => {
    const { door, exchanges } = await openWaitingDoor();
    (await rawClient(door.port)).socket.write(GET);
    await eventually(() => exchanges.length === 1, "it is served");
    const killed = killAgent(door);
    const late: Cut[] = [];
    exchanges[0]?.onCut((cut) => late.push(cut));
    expect(late).toEqual([{ by: "agent" }]);
    expect(await exchanges[0]?.readBody({ bytesMax: 1, timeoutMs: 1 })).toBe("killed_agent");
    await killed;
  });

  test("serves nothing more of its connection", async () => {
    const targets: string[] = [];
    const { door } = await openWaitingDoor((exchange) => {
      targets.push(exchange.head.target);
      stream(exchange);
    });
    const client = await rawClient(door.port);
    client.socket.write(GET + GET.replace("/", "/next"));
    await client.until(/data: 1/);
    await killAgent(door);
    await client.closed;
    expect(targets).toEqual(["/"]);
  });

  test("of another agent changes nothing", async () => {
    const { door } = await openWaitingDoor(stream);
    const client = await rawClient(door.port);
    client.socket.write(GET);
    await client.until(/data: 1/);
    expect(await door.registry.cutScope("agent", "agent/red/other")).toMatchObject({ count: 0 });
    expect(client.socket.destroyed).toBe(false);
  });
});

describe("a cut by the exchange's own relay", () => {
  test("resets a reader that does not take the last frame", async () => {
    let gone = 0;
    const { door } = await openWaitingDoor((exchange) => {
      exchange.onGone(() => gone++);
      exchange.begin(200, []);
      exchange.write(Buffer.alloc(32_000_000));
      exchange.cut(FRAME);
    });
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(GET);
    await eventually(() => door.registry.count() === 1, "it is served");
    await eventually(() => door.registry.count() === 0, "it is reset");
    expect(gone).toBe(0);
  });

  test("before anything was said resets the connection", async () => {
    const { door } = await openWaitingDoor((exchange) => exchange.cut(FRAME));
    const client = await rawClient(door.port);
    client.socket.write(GET);
    expect(await client.closed).toBe("rst");
    expect(client.text()).toBe("");
  });
});

test.each([
  ["is the last of its connection", `${GET}\0`],
  ["is one of several", GET],
])(
  "a kill ends a document that its client takes slowly, also where it %s",
  async (_which, sent) => {
    const answered = Promise.withResolvers<void>();
    const { door } = await openWaitingDoor((exchange) => {
      // What follows the request was read by then.
      setImmediate(() => {
        exchange.answer({ status: 200, headers: [], body: Buffer.alloc(32_000_000) });
        answered.resolve();
      });
    });
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(sent);
    await answered.promise;
    expect(await killAgent(door)).toMatchObject({ count: 1 });
    expect(door.registry.count()).toBe(0);
  },
);

test("an answer to a body that turns out to be none ends with it", async () => {
  const door = await openDoor(
    (exchange) => exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") }),
    { limits: { lingerTimeoutMs: 600_000 } },
  );
  const client = await rawClient(door.port);
  client.socket.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  await client.until(/ok$/);
  client.socket.write("no chunk\r\n");
  await client.closed;
  await eventually(() => door.registry.count() === 0, "the exchange is over");
});

test("a refused client that is closed while it still sends is not told of as gone", async () => {
  let gone = 0;
  const door = await openDoor(
    (exchange) => {
      exchange.onGone(() => gone++);
      exchange.answer(refusalOf(403, "killed_agent"));
    },
    { limits: { lingerTimeoutMs: 20 } },
  );
  const client = await rawClient(door.port);
  client.socket.write(POST);
  await client.closed;
  await eventually(() => door.registry.count() === 0, "the exchange is over");
  expect(gone).toBe(0);
});

test("a list names what is open as it stands", async () => {
  const { door } = await openWaitingDoor((exchange) => {
    stream(exchange);
    exchange.write(Buffer.from("x"));
  });
  const client = await rawClient(door.port);
  client.socket.write(GET);
  await client.until(/data: 1/);
  expect(door.registry.list(systemClock.monoNs())).toEqual([
    {
      id: "1",
      agentId: "red/worker",
      door: "gateway",
      peer: "127.0.0.1",
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      streaming: true,
      ageMs: expect.any(Number),
      bytesUp: 0,
      bytesDown: 10,
      held: undefined,
    },
  ]);
});

/** The list once no more bytes move. */
async function settledList(door: Door) {
  let before = -1;
  let now = door.registry.list(0n)[0]?.bytesDown ?? 0;
  while (now !== before) {
    before = now;
    await new Promise((resolve) => systemClock.after(50, () => resolve(undefined)));
    now = door.registry.list(0n)[0]?.bytesDown ?? 0;
  }
  return door.registry.list(0n);
}
