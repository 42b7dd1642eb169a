import type { Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { proofCount } from "../../support/proof.ts";
import { eventually } from "./dataplane/door.ts";
import { bytesOf, type Changes, changed, changesBy, cutAt, shares } from "./dataplane/http-text.ts";
import { readByNode } from "./dataplane/http1/oracle.ts";
import {
  type DoorsWorld,
  doorsWorld,
  type HttpDoor,
  httpDoors,
  type Speaker,
} from "./doors-world.ts";
import { type Framing, ODD, PLAIN } from "./framings.ts";
import type { RawRequest } from "./raw-far.ts";

const { count: RUNS, seed } = proofCount("requests that could be read in two ways, at each door", {
  small: 150,
  full: 5_000,
});

/** Turns of the event loop in which nothing happens: what lies on the loopback is read by then. */
const QUIET_TURNS = 15;

/** What may stand among the headers, or in front of everything. */
const AMONG = ["Host: evil.example.com\r\n", "X: a\r\n b\r\n", "X: \xff\r\n"].concat(
  "Connection: host\r\n",
  "Upgrade: websocket\r\n",
);
const BEFORE = ["\r\n", "\n", " ", "\r"];

type Asked = {
  readonly framing: Framing;
  readonly among: string;
  readonly before: string;
  readonly word: string;
  /** The body is a request itself. */
  readonly nests: boolean;
};

const seldom = <T>(usual: T, others: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 9, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

const asked: fc.Arbitrary<Asked> = fc.record({
  framing: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...PLAIN) },
    { weight: 2, arbitrary: fc.oneof(...ODD.map((group) => fc.constantFrom(...group))) },
  ),
  among: seldom("", AMONG),
  before: seldom("", BEFORE),
  word: fc.stringMatching(/^[a-z]{1,8}$/),
  nests: seldom(false, [true]),
});

function textOf({ framing, among, before, word, nests }: Asked, door: HttpDoor): string {
  const line = `POST ${door.target(door.path)} HTTP/1.1\r\n${door.lines}`;
  const said = door.body(word);
  const body = nests ? `${line}Content-Length: ${said.length}\r\n\r\n${said}` : said;
  const [lines, raw] = framing(body);
  return `${before}${line}Content-Type: application/json\r\n${among}${lines}\r\n${raw}`;
}

/** What came of it at the client, and at the far side. */
type Verdict = {
  /** Status and reason of each answer. */
  readonly answers: readonly string[];
  readonly isClosed: boolean;
  readonly asked: readonly RawRequest[];
};

/** Until nothing happens any more but that more of a body is waited for. */
async function quiet(it: DoorsWorld, client: Speaker): Promise<void> {
  const seen = () => {
    const isBusy = it.connections.open().some((one) => one.isOpen() && !one.isCarrier?.());
    return isBusy && it.connections.waitingBodies("research/worker-1") === 0
      ? Symbol("busy")
      : `${client.text().length} ${isOver(client.socket)} ${it.connections.count()}`;
  };
  let last: unknown;
  for (let turns = 0; turns < QUIET_TURNS; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = seen();
    if (now !== last) turns = 0;
    last = now;
  }
}

/** What is sent behind a refusal is reset. */
function isOver({ readableEnded, destroyed }: Socket): boolean {
  return readableEnded || destroyed;
}

async function say(
  it: DoorsWorld,
  door: HttpDoor,
  pieces: readonly Uint8Array[],
): Promise<Verdict> {
  const { far } = door;
  far.requests.length = 0;
  const client = await door.connect();
  client.socket.on("error", () => undefined);
  for (const piece of pieces) {
    client.socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await quiet(it, client);
  const isClosed = isOver(client.socket);
  client.socket.destroy();
  await eventually(() => it.connections.count() === 0, "nothing is left of it");
  expect([...far.rests.values()], "what is no request").toEqual([]);
  return { answers: answersIn(client.text()), isClosed, asked: [...far.requests] };
}

function answersIn(text: string): string[] {
  return text
    .split(/(?=HTTP\/1\.1 [0-9]{3} )/)
    .filter((one) => one !== "" && !one.startsWith("HTTP/1.1 100 "))
    .map((one) => {
      const reason = /\r\nx-altrace-reason: ([a-z_0-9]+)\r\n/.exec(one)?.[1] ?? "none";
      const closes = /\r\nconnection: close\r\n/i.test(one);
      return `${one.slice(9, 12)} ${reason}${closes ? " close" : ""}`;
    });
}

/** Method, path and what was said, of what a far side got and of what llhttp reads. */
function gist(door: HttpDoor, of: { method: string; target: string; body: string }): string {
  const path = of.target.replace(/^http:\/\/[^/]*/i, "");
  if (door.name === "forward proxy") return `${of.method} ${path} ${of.body}`;
  const { messages } = JSON.parse(of.body) as { messages: unknown };
  return `${of.method} ${path} ${JSON.stringify(messages)}`;
}

function gistOf(door: HttpDoor, { head, body }: RawRequest): string {
  const [method = "", target = ""] = head.split(" ");
  return gist(door, { method, target, body });
}

async function check(it: DoorsWorld, door: HttpDoor, text: string, at: readonly number[]) {
  const bytes = bytesOf(text);
  const verdict = await say(it, door, [bytes]);
  const { answers, asked } = verdict;
  const allowed = answers.filter((one) => one.startsWith("200 "));
  const theirs = await readByNode([bytes]);
  const whole = theirs.told.filter(({ isWhole }) => isWhole);
  // Everything that went on is a request that llhttp reads there as well, whole and in its order.
  expect(asked.map((one) => gistOf(door, one))).toEqual(
    whole.slice(0, asked.length).map((one) => gist(door, one)),
  );
  expect(allowed.length).toBe(asked.length);
  // A refusal has its reason, and is the last word on its connection.
  for (const one of answers.slice(0, allowed.length)) expect(one).toMatch(/^200 none/);
  const refusals = answers.slice(allowed.length);
  expect(refusals.length).toBeLessThan(2);
  for (const one of refusals) expect(one).toMatch(/^4[0-9]{2} (?!none).* close$/);
  expect(await say(it, door, cutAt(bytes, at))).toEqual(verdict);
}

const WORDS = [
  "HTTP/1.0",
  "http://evil.example.com/",
  "Host: b\r\n",
  "0\r\n\r\n",
  "Connection: close\r\n",
];

test("whatever two readers could read in two ways, each door refuses or passes on in one, however it is cut", async () => {
  const it = await doorsWorld();
  const doors = httpDoors(it);
  await fc.assert(
    fc.asyncProperty(
      fc.array(asked, { minLength: 1, maxLength: 3 }),
      fc.oneof({ weight: 2, arbitrary: fc.constant<Changes>([]) }, changesBy(WORDS)),
      shares,
      async (all, changes, at) => {
        for (const door of doors) {
          const text = changed(all.map((one) => textOf(one, door)).join(""), changes);
          await check(it, door, text, at);
        }
      },
    ),
    { numRuns: RUNS, seed: seed | 0 },
  );
  expect(it.faults).toEqual([]);
});
