import { expect, test } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import type { Exchange } from "../../node/dataplane/exchange.ts";
import { watchFreshness } from "../../node/dataplane/watch-freshness.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { proofCount } from "../support/proof.ts";
import { eventually, openDoor, type RawClient, rawClient } from "../unit/node/dataplane/door.ts";

const { count: STREAMS, seed } = proofCount("streams torn down", { small: 300, full: 5_000 });
/** Of these, how many do not read: their last frame cannot leave, so they are reset. */
const STALLED = Math.floor(STREAMS / 10);
const FRAME = Buffer.from('data: {"error":{"code":"killed_team"}}\n\n');
/** More than the kernel takes for a client that does not read. */
const BULK = Buffer.alloc(8_000_000);
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A stream with an upstream leg of its own, cut as a relay cuts. */
function stream(exchange: Exchange, upstreamEnded: (requestId: string) => void): void {
  exchange.markStreaming();
  exchange.onCut(() => upstreamEnded(exchange.requestId));
  exchange.onCut(() => exchange.cut(FRAME));
  exchange.begin(200, ["content-type", "text/event-stream"]);
  const stalled = exchange.head.target === "/stalled";
  exchange.write(stalled ? BULK : Buffer.from("data: 1\n\n"));
}

async function openStreams(port: number, target: string, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  while (clients.length < count) {
    const some = Math.min(50, count - clients.length);
    clients.push(...(await Promise.all(Array.from({ length: some }, () => rawClient(port)))));
  }
  for (const { socket } of clients) {
    if (target === "/stalled") socket.pause();
    socket.write(GET.replace("/", target));
  }
  return clients;
}

test(`a team's kill ends ${STREAMS} streams, both legs, and nobody else's`, async () => {
  const upstreamsEnded = new Set<string>();
  let served = 0;
  const door = await openDoor((exchange) => {
    served++;
    const neighbour = exchange.head.target === "/neighbour";
    exchange.claim(neighbour ? "blue/worker" : `red/worker-${served % 7}`, undefined);
    stream(exchange, (id) => upstreamsEnded.add(id));
  });
  const readers = await openStreams(door.port, "/", STREAMS - STALLED);
  const stalled = await openStreams(door.port, "/stalled", STALLED);
  const [neighbour] = (await openStreams(door.port, "/neighbour", 1)) as [RawClient];
  await Promise.all([neighbour, ...readers].map((client) => client.until(/data: 1\n\n/)));
  await eventually(() => served === STREAMS + 1, "all are served");

  const orderedNs = systemClock.monoNs();
  const { count, lastClosedNs } = await door.registry.cutScope("team", "team/red");
  const tookMs = Number(lastClosedNs - orderedNs) / 1e6;
  console.log(`${STREAMS} streams, ${STALLED} of them stalled: closed in ${tookMs.toFixed(1)} ms`);

  expect(count).toBe(STREAMS);
  expect(upstreamsEnded.size).toBe(STREAMS);
  for (const reader of readers) {
    expect(await reader.closed).toBe("fin");
    expect(reader.text().endsWith(`${FRAME}\r\n0\r\n\r\n`)).toBe(true);
  }
  for (const client of stalled) {
    client.socket.resume();
    expect(await client.closed).toBe("rst");
  }
  expect(neighbour.socket.destroyed).toBe(false);
  expect([door.registry.count(), door.registry.countOf("blue/worker")]).toEqual([1, 1]);
  expect(door.faults).toEqual([]);
}, 120_000);

test("a loop closes its own streams when the kill state may no longer be believed", async () => {
  const door = await openDoor((exchange) => {
    exchange.claim("red/worker", undefined);
    exchange.onCut((cut) => exchange.cut(Buffer.from(`data: ${JSON.stringify(cut)}\n\n`)));
    exchange.begin(200, ["content-type", "text/event-stream"]);
    exchange.write(Buffer.from("data: 1\n\n"));
  });
  let fresh = true;
  const watch = watchFreshness({
    isFresh: () => fresh,
    clock: systemClock,
    closeAll: (cut) => void door.registry.closeAll(cut),
  });
  const [client] = (await openStreams(door.port, "/", 1)) as [RawClient];
  await client.until(/data: 1/);
  fresh = false;
  expect(await client.closed).toBe("fin");
  expect(client.text()).toMatch(/"by":"reason","reason":"mesh_stale"/);
  watch.stop();
});

/**
 * The order of R2: an exchange claims, then reads its cell; a kill stores the cell, then cuts. Kills
 * are thrown in at any moment of many requests, and none of them may go on unseen.
 */
test("a kill between registration and check is seen by the check or by the cut", async () => {
  const random = twinRandom(seed);
  const someTurns = async () => {
    for (let left = (random.bytes(1)[0] as number) % 4; left > 0; left--) await turn();
  };
  let killed = false;
  const passedUnseen: string[] = [];
  const door = await openDoor(async (exchange) => {
    let cut = false;
    exchange.onCut(() => {
      cut = true;
    });
    // Whose key it is may have to be asked for.
    await someTurns();
    exchange.claim("red/worker", undefined);
    if (killed) {
      exchange.answer({ status: 403, headers: [], body: Buffer.from("cells") });
      return;
    }
    await someTurns();
    if (killed && !cut) passedUnseen.push(exchange.requestId);
    exchange.answer({ status: cut ? 403 : 200, headers: [], body: Buffer.from("cut") });
  });
  const outcomes = { 200: 0, 403: 0 };
  for (let round = 0; round < 40; round++) {
    killed = false;
    const requests = Array.from({ length: 8 }, () => fetch(door.url));
    for (let turns = round % 10; turns > 0; turns--) await turn();
    killed = true;
    await door.registry.cutScope("agent", "agent/red/worker");
    for (const answer of await Promise.all(requests)) outcomes[answer.status as 200 | 403]++;
  }
  console.log(`requests around a kill: ${JSON.stringify(outcomes)}`);
  expect(passedUnseen).toEqual([]);
  expect(outcomes[403]).toBeGreaterThan(0);
}, 60_000);

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
