import fc from "fast-check";
import { expect, test } from "vitest";
import type { Exchange } from "../../../../node/dataplane/exchange.ts";
import { proofCount } from "../../../support/proof.ts";
import { eventually, openDoor, rawClient, refusalOf } from "./door.ts";

const { count: RUNS, seed } = proofCount("clients that say anything", { small: 200, full: 5_000 });
const PARALLEL = 20;

const serve = async (exchange: Exchange) => {
  exchange.claim("red/worker", undefined);
  const body = await exchange.readBody({ bytesMax: 4_096, timeoutMs: 200 });
  if (typeof body === "string") exchange.answer(refusalOf(400, body));
  else exchange.answer({ status: 200, headers: [], body });
};

/** Pieces of which requests consist, and what breaks them, in any order. */
const piece = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(
        "GET / HTTP/1.1\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 9999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Connection: close\r\n",
        "\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "abc",
        "\n",
        "\r",
        " folded\r\n",
        `X: ${"a".repeat(9_000)}\r\n`,
      )
      .map((text) => Buffer.from(text, "latin1")),
  },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
);

const connection = fc.record({
  pieces: fc.array(piece, { minLength: 1, maxLength: 12 }),
  /** What the client does when it has said everything. */
  ending: fc.constantFrom<"end" | "wait">("end", "wait"),
  pause: fc.boolean(),
});

type Connection = typeof connection extends fc.Arbitrary<infer Value> ? Value : never;

test(`whatever ${RUNS} clients say, each gets an answer or a close, and nothing is left behind`, async () => {
  const door = await openDoor(serve, {
    limits: {
      headTimeoutMs: 200,
      headSweepMs: 20,
      keepAliveTimeoutMs: 100,
      lingerTimeoutMs: 100,
    },
  });
  const oneClient = async ({ pieces, ending, pause }: Connection) => {
    const client = await rawClient(door.port);
    for (const bytes of pieces) {
      if (client.socket.destroyed) break;
      client.socket.write(bytes);
      if (pause) await new Promise((resolve) => setImmediate(resolve));
    }
    if (ending === "end") client.socket.end();
    await client.closed;
    if (client.text() !== "") expect(client.text()).toMatch(/^HTTP\/1\.1 (1|2|4)\d\d /);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(connection, { minLength: 1, maxLength: PARALLEL }),
      async (clients) => {
        await Promise.all(clients.map(oneClient));
      },
    ),
    { numRuns: RUNS / PARALLEL, seed: seed | 0 },
  );
  await eventually(() => door.gateway.connectionCount() === 0, "every connection is closed");
  expect([door.registry.count(), door.registry.countOf("red/worker"), door.faults]).toEqual([
    0,
    0,
    [],
  ]);
}, 120_000);
