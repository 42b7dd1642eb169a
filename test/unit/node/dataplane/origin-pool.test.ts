import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Client, Dispatcher } from "undici";
import { afterEach, expect, test, vi } from "vitest";
import { OriginPool } from "../../../../node/dataplane/origin-pool.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../support/comes-true.ts";
import { type FakeProvider, startFakeProvider } from "./fake-provider.ts";

const AGE_MS_MAX = 60_000;
const opened: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

/** Answers at once, but for `/hold`: those wait until the test ends them. */
async function heldProvider(): Promise<FakeProvider & { readonly held: ServerResponse[] }> {
  const held: ServerResponse[] = [];
  const provider = await startFakeProvider((response, { url }) => {
    if (url === "/hold") held.push(response.writeHead(200));
    else response.end("ok");
    response.flushHeaders();
  });
  opened.push(provider);
  return { ...provider, held };
}

function poolOf(origin: string, clock = twinClock()): OriginPool {
  const make = () => new Client(origin, { pipelining: 1, allowH2: false });
  const pool = new OriginPool({ make, clock, ageMsMax: AGE_MS_MAX });
  opened.push({ close: () => pool.destroy() });
  return pool;
}

function ask(pool: OriginPool, path = "/"): Promise<Dispatcher.ResponseData<unknown>> {
  return Dispatcher.prototype.request.call(pool as never, { path, method: "GET" });
}

/** A connection is free in the turn after its answer has ended. */
async function askWhole(pool: OriginPool): Promise<string> {
  const { body } = await ask(pool);
  const text = await body.text();
  await nextTurn();
  return text;
}

test("requests that follow one another share a connection", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  expect(pool.hasIdle).toBe(false);
  for (let i = 0; i < 5; i += 1) expect(await askWhole(pool)).toBe("ok");
  expect(pool.hasIdle).toBe(true);
  expect(provider.connections()).toBe(1);
  expect(pool.size).toBe(1);
});

test("streams have a connection each, and small requests beside them one that is free", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  const streams = await Promise.all(Array.from({ length: 20 }, () => ask(pool, "/hold")));
  for (let i = 0; i < 5; i += 1) expect(await askWhole(pool)).toBe("ok");
  expect(pool.size).toBe(21);
  expect(provider.connections()).toBe(21);
  for (const one of provider.held) one.end("done");
  for (const { body } of streams) expect(await body.text()).toBe("done");
  await nextTurn();
  await Promise.all(Array.from({ length: 21 }, () => askWhole(pool)));
  expect(provider.connections()).toBe(21);
});

test("what a free connection costs does not grow with those that are busy", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  await Promise.all(Array.from({ length: 30 }, () => ask(pool, "/hold")));
  await askWhole(pool);
  const looked = vi.spyOn(Client.prototype, "dispatch");
  await askWhole(pool);
  expect(looked).toHaveBeenCalledTimes(1);
  expect(pool.size).toBe(31);
});

test("a connection that the far side closed is forgotten, and made anew when it is wanted", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  await askWhole(pool);
  for (const socket of provider.sockets) socket.destroy();
  await comesTrue(() => expect(pool.size).toBe(0));
  expect(await askWhole(pool)).toBe("ok");
  expect(provider.connections()).toBe(2);
});

test("a connection that cannot be made is an error of its request, and is not kept", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  const pool = poolOf(`http://127.0.0.1:${port}`);
  await expect(ask(pool)).rejects.toThrow(/ECONNREFUSED/);
  await comesTrue(() => expect(pool.size).toBe(0));
});

test("an old connection takes no more requests", async () => {
  const provider = await heldProvider();
  const clock = twinClock();
  const pool = poolOf(provider.origin, clock);
  await askWhole(pool);
  clock.advance(AGE_MS_MAX);
  await askWhole(pool);
  expect(provider.connections()).toBe(1);
  expect(pool.hasIdle).toBe(true);
  clock.advance(1);
  expect(pool.hasIdle).toBe(false);
  await askWhole(pool);
  expect(provider.connections()).toBe(2);
  await comesTrue(() => expect(provider.sockets.size).toBe(1));
});

test("undici says that a connection takes more only where nothing runs on it", async () => {
  const provider = await heldProvider();
  const client = new Client(provider.origin, { pipelining: 1, allowH2: false });
  opened.push({ close: () => client.destroy() });
  let freed = 0;
  client.on("drain", () => freed++);
  const begin = (onRequestStart: () => void) => {
    const ended = Promise.withResolvers<void>();
    const isFree = client.dispatch(
      { path: "/", method: "GET" },
      {
        onRequestStart,
        onResponseStart: () => undefined,
        onResponseData: () => undefined,
        onResponseEnd: () => ended.resolve(),
        onResponseError: () => ended.resolve(),
      },
    );
    return { isFree, running: client.stats.size, ended: ended.promise };
  };
  // Before there is a connection, and on one that is there: busy, and told once when it is free.
  for (const no of [1, 2, 3]) {
    const { isFree, running, ended } = begin(() => undefined);
    expect([isFree, running, freed]).toEqual([false, 1, no - 1]);
    await ended;
    await nextTurn();
    expect([client.stats.size, freed]).toEqual([0, no]);
  }
  const refused = begin(() => {
    throw new Error("not sent");
  });
  await refused.ended;
  await nextTurn();
  // It is free, and that was said at once or has been told by now.
  expect([client.stats.size, refused.isFree || freed === 4]).toEqual([0, true]);
});

test("what was refused before a byte of it was sent leaves its connection free", async () => {
  const provider = await heldProvider();
  const pool = poolOf(provider.origin);
  await askWhole(pool);
  const failed = Promise.withResolvers<unknown>();
  pool.dispatch(
    { path: "/", method: "GET" },
    {
      onRequestStart: () => {
        throw new Error("the permit was refused");
      },
      onResponseStart: () => undefined,
      onResponseData: () => undefined,
      onResponseEnd: () => undefined,
      onResponseError: (_controller, error) => failed.resolve(error),
    },
  );
  expect(await failed.promise).toMatchObject({ message: "the permit was refused" });
  await expect(ask(pool, "no path")).rejects.toThrow(/path/);
  expect(await askWhole(pool)).toBe("ok");
  expect(provider.connections()).toBe(1);
  expect(provider.received).toHaveLength(2);
});

test("close lets streams end, destroy does not", async () => {
  const provider = await heldProvider();
  const closing = poolOf(provider.origin);
  const stream = await ask(closing, "/hold");
  await askWhole(closing);
  let isClosed = false;
  const closed = closing.close().then(() => {
    isClosed = true;
  });
  await comesTrue(() => expect(provider.sockets.size).toBe(1));
  expect(isClosed).toBe(false);
  provider.held[0]?.end("done");
  expect(await stream.body.text()).toBe("done");
  await closed;
  const ending = poolOf(provider.origin);
  const cut = await ask(ending, "/hold");
  const text = expect(cut.body.text()).rejects.toThrow();
  await ending.destroy();
  await text;
});
