import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { type OriginDial, originDial } from "../../../../node/dataplane/origin/dial-origin.ts";
import { OriginPool, type OriginPoolOptions } from "../../../../node/dataplane/origin-pool.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../support/comes-true.ts";
import { askOrigin } from "./ask-origin.ts";
import { type FakeProvider, startFakeProvider } from "./fake-provider.ts";

const AGE_MS_MAX = 60_000;
const KEEP_MS = 20_000;
const SECOND = 1_000;
const opened: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

/** Answers at once, but for `/hold`: those wait until the test ends them. */
async function heldProvider(
  headers: Record<string, string> = {},
): Promise<FakeProvider & { readonly held: ServerResponse[] }> {
  const held: ServerResponse[] = [];
  const provider = await startFakeProvider((response, { url }) => {
    if (url === "/hold") held.push(response.writeHead(200));
    else response.writeHead(200, headers).end("ok");
    response.flushHeaders();
  });
  opened.push(provider);
  return { ...provider, held };
}

function poolOf(
  origin: string,
  clock = twinClock(),
  over: Partial<OriginPoolOptions> = {},
): OriginPool {
  const pool = new OriginPool({
    dial: originDial(origin, { lookup: () => expect.unreachable("no name is needed") }),
    clock,
    connectTimeoutMs: 10 * SECOND,
    ageMsMax: AGE_MS_MAX,
    keepMs: KEEP_MS,
    ...over,
  });
  opened.push({ close: () => pool.destroy() });
  return pool;
}

/** A connection is free in the turn after its answer has ended. */
async function askWhole(pool: OriginPool): Promise<string> {
  const whole = await askOrigin(pool).whole;
  await nextTurn();
  return whole;
}

async function held(pool: OriginPool, count: number) {
  const asked = Array.from({ length: count }, () => askOrigin(pool, { path: "/hold" }));
  await comesTrue(() => expect(asked.every(({ status }) => status === 200)).toBe(true));
  return asked;
}

test("requests that follow one another share a connection", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  for (let i = 0; i < 5; i += 1) expect(await askWhole(pool)).toBe("200 ok");
  expect(provider.connections()).toBe(1);
  expect(pool.size).toBe(1);
});

test("streams have a connection each, and small requests beside them one that is free", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  const streams = await held(pool, 20);
  for (let i = 0; i < 5; i += 1) expect(await askWhole(pool)).toBe("200 ok");
  expect(pool.size).toBe(21);
  expect(provider.connections()).toBe(21);
  for (const one of provider.held) one.end("done");
  for (const { whole } of streams) expect(await whole).toBe("200 done");
  await nextTurn();
  await Promise.all(Array.from({ length: 21 }, () => askWhole(pool)));
  expect(provider.connections()).toBe(21);
});

test("the one that was used last serves next", async () => {
  const provider = await heldProvider();
  const clock = twinClock();
  const pool = poolOf(provider.origin, clock);
  const both = await held(pool, 2);
  for (const one of provider.held) one.end();
  await Promise.all(both.map(({ whole }) => whole));
  await nextTurn();
  for (let second = 0; second < 30; second += 1) {
    await askWhole(pool);
    clock.advance(SECOND);
  }
  // The other was not needed, and was silent for too long.
  await comesTrue(() => expect(provider.sockets.size).toBe(1));
  expect(provider.connections()).toBe(2);
});

test("P3: on no connection a call is written in the turn in which its last answer ended", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  const first = askOrigin(pool);
  const next = first.whole.then(() => askOrigin(pool).whole);
  expect(await next).toBe("200 ok");
  expect(provider.connections()).toBe(2);
});

test("P3: the calls of a turn are written together, after it", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  const both = await held(pool, 2);
  for (const one of provider.held) one.end();
  await Promise.all(both.map(({ whole }) => whole));
  await nextTurn();
  const written: number[] = [];
  const asked = [1, 2].map((no) => askOrigin(pool, { mayWrite: () => written.push(no) > 0 }));
  expect(written).toEqual([]);
  await nextTurn();
  expect(written).toEqual([1, 2]);
  for (const { whole } of asked) expect(await whole).toBe("200 ok");
  expect(provider.connections()).toBe(2);
});

test("P4: a call goes on another connection when its own is gone before it was written", async () => {
  const provider = await heldProvider();
  const dial = originDial(provider.origin, { lookup: () => expect.unreachable() });
  const made: Socket[] = [];
  const open: OriginDial["open"] = (onRead) => {
    const socket = dial.open(onRead);
    made.push(socket);
    return socket;
  };
  const pool = poolOf(provider.origin, twinClock(), { dial: { ...dial, open } });
  await askWhole(pool);
  const asked: string[] = [];
  const { whole } = askOrigin(pool, {
    mayConnect: () => asked.push("connect") > 0,
    mayWrite: () => asked.push("write") > 0,
  });
  made[0]?.destroy();
  expect(await whole).toBe("200 ok");
  expect(asked).toEqual(["connect", "write"]);
  expect(provider.connections()).toBe(2);
});

test("no connection is opened for a call that may have none", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  askOrigin(pool, { mayConnect: () => false });
  expect(await askWhole(pool)).toBe("200 ok");
  expect(provider.connections()).toBe(1);
  expect(provider.received).toHaveLength(1);
});

test("P5: what is thrown before a connection is opened is a fault of that call alone", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  const thrown = askOrigin(pool, {
    mayConnect: () => {
      throw new Error("a bug");
    },
  });
  const next = askOrigin(pool);
  await expect(thrown.whole).rejects.toThrow("a bug");
  expect(await next.whole).toBe("200 ok");
});

test("a connection that the far side closed is forgotten, and made anew when it is wanted", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  await askWhole(pool);
  for (const socket of provider.sockets) socket.destroy();
  await comesTrue(() => expect(pool.size).toBe(0));
  expect(await askWhole(pool)).toBe("200 ok");
  expect(provider.connections()).toBe(2);
});

test("a connection that cannot be made is a fault of its request, and is not kept", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  const pool = poolOf(`http://127.0.0.1:${port}`);
  await expect(askOrigin(pool).whole).rejects.toThrow(/ECONNREFUSED/);
  await comesTrue(() => expect(pool.size).toBe(0));
});

test("one that takes too long to be made is a fault of its request", async () => {
  const clock = twinClock();
  const dial = originDial("http://name.invalid", { lookup: () => undefined });
  const pool = poolOf("http://name.invalid", clock, { dial });
  const { whole } = askOrigin(pool);
  await nextTurn();
  clock.advance(10 * SECOND - 1);
  expect(pool.size).toBe(1);
  clock.advance(1);
  await expect(whole).rejects.toThrow(/too long to connect/);
  await comesTrue(() => expect(pool.size).toBe(0));
});

test("an old connection takes no more requests", async () => {
  const provider = await heldProvider();
  const clock = twinClock();
  const pool = poolOf(provider.origin, clock);
  for (let second = 1; second < AGE_MS_MAX / SECOND; second += 1) {
    await askWhole(pool);
    clock.advance(SECOND);
  }
  expect(provider.connections()).toBe(1);
  const [running] = await held(pool, 1);
  clock.advance(SECOND);
  provider.held[0]?.end("done");
  expect(await running?.whole).toBe("200 done");
  await askWhole(pool);
  expect(provider.connections()).toBe(2);
  await comesTrue(() => expect(provider.sockets.size).toBe(1));
});

test.each([
  { said: { "keep-alive": "max=100" }, keptS: KEEP_MS / SECOND },
  { said: { "keep-alive": "timeout=7, max=100" }, keptS: 5 },
  { said: { "keep-alive": "timeout=2" }, keptS: 0 },
  { said: { connection: "close" }, keptS: 0 },
])("is kept for $keptS s after an answer with $said", async ({ said, keptS }) => {
  const provider = await heldProvider(said as Record<string, string>);
  const clock = twinClock();
  const pool = poolOf(provider.origin, clock);
  await askWhole(pool);
  for (let second = 0; second < keptS; second += 1) {
    expect([pool.size, second]).toEqual([1, second]);
    clock.advance(SECOND);
    await nextTurn();
  }
  await comesTrue(() => expect(pool.size).toBe(0));
  expect(clock.pendingTimers).toBe(0);
});

test("what was refused before a byte of it was sent leaves its connection free", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  await askWhole(pool);
  askOrigin(pool, { mayWrite: () => false });
  const thrown = askOrigin(pool, {
    mayWrite: () => {
      throw new Error("a bug");
    },
  });
  await expect(thrown.whole).rejects.toThrow("a bug");
  await nextTurn();
  await expect(askOrigin(pool, { path: "no path" }).whole).rejects.toThrow(/path/);
  expect(await askWhole(pool)).toBe("200 ok");
  expect(provider.connections()).toBe(1);
  expect(provider.received).toHaveLength(2);
});

test("close lets streams end, destroy does not", async () => {
  const provider = await heldProvider();
  const clock = twinClock();
  const closing = poolOf(provider.origin, clock);
  const [stream] = await held(closing, 1);
  await askWhole(closing);
  let isClosed = false;
  const closed = closing.close().then(() => {
    isClosed = true;
  });
  await comesTrue(() => expect(provider.sockets.size).toBe(1));
  expect(isClosed).toBe(false);
  provider.held[0]?.end("done");
  expect(await stream?.whole).toBe("200 done");
  await closed;
  expect(clock.pendingTimers).toBe(0);
  const ending = poolOf(provider.origin);
  const [cut] = await held(ending, 1);
  const waiting = askOrigin(ending);
  await ending.destroy();
  await expect(cut?.whole).rejects.toThrow(/were closed/);
  await expect(waiting.whole).rejects.toThrow(/were closed/);
});
