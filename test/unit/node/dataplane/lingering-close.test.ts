import { once } from "node:events";
import { Worker } from "node:worker_threads";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import type { Exchange } from "../../../../node/dataplane/exchange.ts";
import { LingerPlaces } from "../../../../node/dataplane/lingering-close.ts";
import { proofCount } from "../../../support/proof.ts";
import { eventually, HOST, openDoor, rawClient, refusalOf, statusesOf } from "./door.ts";
import type { PostingOrder } from "./posting-clients.ts";

const { count: CLIENTS } = proofCount("clients that send 8 MB", { small: 10, full: 60 });
const BODY = Buffer.alloc(8 * 1024 * 1024, "a");

/** 480 MB through one loop that is server and clients at once, as in a full proof, may take longer than the default. */
const UNHURRIED = { limits: { lingerTimeoutMs: 20_000 } };

const refuse = (exchange: Exchange) => {
  exchange.claim("team/agent", undefined);
  exchange.answer(refusalOf(403, "killed_agent"));
};

describe("a refusal reaches a client that is still sending 8 MB", () => {
  test(`with ${CLIENTS} of node's http clients`, async () => {
    const door = await openDoor(refuse, UNHURRIED);
    const outcomes = await postAll(door.port, { chunked: false });
    expect(countOf(outcomes)).toEqual({ "403 killed_agent": CLIENTS });
    await eventually(() => door.gateway.connectionCount() === 0, "all connections are closed");
  }, 30_000);

  test(`with ${CLIENTS} of node's http clients that send chunks`, async () => {
    const door = await openDoor(refuse, UNHURRIED);
    const outcomes = await postAll(door.port, { chunked: true });
    expect(countOf(outcomes)).toEqual({ "403 killed_agent": CLIENTS });
  }, 30_000);

  test(`with ${CLIENTS} raw sockets that read only when all is sent`, async () => {
    const door = await openDoor(refuse, UNHURRIED);
    const outcomes = await Promise.all(Array.from({ length: CLIENTS }, () => rawPost(door.port)));
    expect(countOf(outcomes)).toEqual({ "fin 403": CLIENTS });
  }, 30_000);

  test("with OpenAI's SDK, which then does not try again", async () => {
    let requests = 0;
    const door = await openDoor((exchange) => {
      requests++;
      refuse(exchange);
    }, UNHURRIED);
    const client = new OpenAI({ baseURL: `${door.url}/v1`, apiKey: "k", maxRetries: 2 });
    const attempts = Array.from({ length: 8 }, () =>
      client.chat.completions
        .create({ model: "m", messages: [{ role: "user", content: BODY.toString("latin1") }] })
        .then(
          () => "answered",
          (error: { status?: number; code?: string }) => `${error.status} ${error.code}`,
        ),
    );
    expect(countOf(await Promise.all(attempts))).toEqual({ "403 killed_agent": 8 });
    expect(requests).toBe(8);
  }, 30_000);

  test("with Anthropic's SDK, which then does not try again", async () => {
    let requests = 0;
    const door = await openDoor((exchange) => {
      requests++;
      refuse(exchange);
    }, UNHURRIED);
    const client = new Anthropic({ baseURL: door.url, apiKey: "k", maxRetries: 2 });
    const attempts = Array.from({ length: 8 }, () =>
      client.messages
        .create({
          model: "m",
          max_tokens: 1,
          messages: [{ role: "user", content: BODY.toString("latin1") }],
        })
        .then(
          () => "answered",
          (error: { status?: number }) => String(error.status),
        ),
    );
    expect(countOf(await Promise.all(attempts))).toEqual({ "403": 8 });
    expect(requests).toBe(8);
  }, 30_000);
});

describe("what is discarded after a refusal has bounds", () => {
  const HEAD = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

  test("a client that stops sending is closed after linger_timeout_ms", async () => {
    const door = await openDoor(refuse, { limits: { lingerTimeoutMs: 50 } });
    const client = await rawClient(door.port);
    client.socket.write(HEAD);
    await client.until(/killed_agent/);
    await client.closed;
    await eventually(() => door.registry.count() === 0, "the exchange is over");
  });

  test("a client that goes on sending is closed after linger_bytes_max", async () => {
    const limits = { lingerTimeoutMs: 60_000, lingerBytesMax: 100_000 };
    const door = await openDoor(refuse, { limits });
    const client = await rawClient(door.port);
    client.socket.write(HEAD);
    await client.until(/killed_agent/);
    const chunk = `1000\r\n${"a".repeat(0x1000)}\r\n`;
    const timer = setInterval(() => client.socket.write(chunk.repeat(10)), 5);
    await client.closed;
    clearInterval(timer);
    await eventually(() => door.registry.count() === 0, "the exchange is over");
  });

  test("one agent's lingering connections are bounded, another's are not affected", async () => {
    const limits = { lingerTimeoutMs: 60_000, lingerPerAgentMax: 1 };
    const door = await openDoor(
      (exchange) => {
        exchange.claim(exchange.head.target.slice(1), undefined);
        exchange.answer(refusalOf(403, "killed_agent"));
      },
      { limits },
    );
    const sendAs = async (agent: string) => {
      const client = await rawClient(door.port);
      client.socket.write(HEAD.replace("/", `/${agent}`));
      return client;
    };
    const first = await sendAs("t/a");
    await first.until(/killed_agent/);
    const second = await sendAs("t/a");
    await second.closed;
    const other = await sendAs("t/b");
    await other.until(/killed_agent/);
    expect(first.socket.destroyed).toBe(false);
    expect(other.socket.destroyed).toBe(false);
    // The end of a request gives its place to the next.
    first.socket.write("0\r\n\r\n");
    expect(await first.closed).toBe("fin");
    const third = await sendAs("t/a");
    await third.until(/killed_agent/);
    expect(third.socket.destroyed).toBe(false);
  });

  test("a place is held by nobody twice and given back once", () => {
    const limits = { lingerBytesMax: 1, lingerTimeoutMs: 1, lingerPerAgentMax: 2, lingerMax: 3 };
    const places = new LingerPlaces({ limits, clock: systemClock });
    expect([places.take("a"), places.take("a"), places.take("a")]).toEqual([true, true, false]);
    expect([places.take("b"), places.take("c")]).toEqual([true, false]);
    places.give("c");
    expect(places.count()).toBe(3);
    places.give("a");
    expect([places.take("c"), places.count()]).toEqual([true, 3]);
    for (const holder of ["a", "b", "c"]) places.give(holder);
    expect(places.count()).toBe(0);
  });
});

test("an answer of the node's own keeps the connection when the body was read", async () => {
  const door = await openDoor(async (exchange) => {
    await exchange.readBody({ bytesMax: 10, timeoutMs: 1_000 });
    exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") });
  });
  const client = await rawClient(door.port);
  const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
  client.socket.write(post);
  await client.until(/ok$/);
  client.socket.write(post);
  await client.until(/ok.*ok$/s);
});

test("a 200 with the body unread closes the connection once the body has come", async () => {
  const door = await openDoor((exchange) =>
    exchange.answer({ status: 200, headers: [], body: Buffer.from("ok") }),
  );
  const client = await rawClient(door.port);
  client.socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  expect(await client.until(/ok$/)).toMatch(/connection: close/i);
  client.socket.write("cd");
  expect(await client.closed).toBe("fin");
});

/** Clients in a thread of their own: they send while the door refuses. */
async function postAll(port: number, options: { chunked: boolean }): Promise<string[]> {
  const order: PostingOrder = {
    host: HOST,
    port,
    clients: CLIENTS,
    bodyBytes: BODY.length,
    ...options,
  };
  const worker = new Worker(new URL("./posting-clients.ts", import.meta.url), {
    workerData: order,
  });
  const [outcomes] = (await once(worker, "message")) as [string[]];
  return outcomes;
}

async function rawPost(port: number): Promise<string> {
  const client = await rawClient(port);
  client.socket.pause();
  client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY.length}\r\n\r\n`);
  client.socket.write(BODY, () => client.socket.resume());
  const how = await client.closed;
  return `${how} ${statusesOf(client.text()).join()}`;
}

function countOf(outcomes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
