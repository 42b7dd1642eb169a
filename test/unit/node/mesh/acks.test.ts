import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { openSealed } from "../../../../mesh/sealed.ts";
import {
  ACK_WINDOW_MS,
  ACKS_PER_MESSAGE_MAX,
  AckBook,
  DISK_LOOKS_MIN,
  DISK_WAIT_NS,
  DISK_WAIT_NS_MAX,
  REFUSAL_ACKS_PER_SECOND,
  REPEAT_AFTER_NS,
} from "../../../../node/mesh/acks.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { type Ack, AckSchema } from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { kill, revive, signers, verify, World } from "./mesh-world.ts";

const world = new World();
const DISK_WAIT_MS = Number(DISK_WAIT_NS / 1_000_000n);
const DISK_WAIT_MS_MAX = Number(DISK_WAIT_NS_MAX / 1_000_000n);
const STALL = { longestNs: () => 0n, mark: () => ({}), until: () => ({}) } as never;

type Heard = { readonly first: Ack; readonly all: readonly Ack[] };

type BookWorld = {
  readonly clock: TwinClock;
  readonly book: AckBook;
  readonly heard: readonly Heard[];
  /** Time passes in which this thread does nothing. */
  readonly holdUp: (ms: number) => void;
};

function bookOf(): BookWorld {
  const clock = twinClock();
  let heldNs = 0n;
  const heard: Heard[] = [];
  const book = new AckBook({
    node: "n1",
    bootId: "boot",
    clock: { ...clock, monoNs: () => clock.monoNs() + heldNs },
    signer: signers.stranger,
    stall: STALL,
    send: (bytes) => {
      const opened = openSealed("ack", bytes, () => signers.stranger.publicKey, verify);
      const first = fromBinary(AckSchema, opened?.payload ?? new Uint8Array(0));
      heard.push({ first, all: [first, ...first.also] });
    },
  });
  const holdUp = (ms: number) => {
    heldNs += BigInt(ms) * 1_000_000n;
  };
  return { clock, book, heard, holdUp };
}

const killOf = (scope: string) => world.make(scope, kill(), signers.coordinator);

function enforce(book: AckBook, record: ReturnType<typeof killOf>, clock: TwinClock): void {
  const nowNs = clock.monoNs();
  const times = { receivedNs: nowNs, enforcedNs: nowNs + 1n, gatedNs: 0n };
  book.enforced(record, { ...times, stall: {} as never, isClosed: false });
}

/** In steps, so that what is armed anew comes too. */
function passes(clock: TwinClock, ms: number): void {
  for (let i = 0; i < ms; i += 1) clock.advance(1);
}

test("A3: all that becomes true of a kill within the window is one message", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  book.closed(record, 3, clock.monoNs());
  clock.advance(ACK_WINDOW_MS - 1);
  book.durable(record, clock.monoNs());
  expect(heard).toEqual([]);
  clock.advance(1);
  expect(heard.map(({ all }) => all.length)).toEqual([1]);
  expect(heard[0]?.first).toMatchObject({ closed: true, durable: true, closedCount: 3 });
  clock.advance(1_000);
  expect(heard).toHaveLength(1);
});

test("A3: a disk that takes longer than the window is waited for", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  clock.advance(ACK_WINDOW_MS + 1);
  expect(heard).toEqual([]);
  book.durable(record, clock.monoNs());
  clock.advance(ACK_WINDOW_MS);
  expect(heard.map(({ first }) => first.durableNs)).toEqual([6_000_000n]);
});

test("A1: a disk that takes longer still is told of when it has the record", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  passes(clock, DISK_WAIT_MS);
  expect(heard.map(({ first }) => first.durable)).toEqual([false]);
  expect(heard[0]?.first).toMatchObject({ enforcedNs: 1n });
  book.durable(record, clock.monoNs());
  passes(clock, ACK_WINDOW_MS);
  expect(heard[1]?.first).toMatchObject({ durable: true, durableNs: 25_000_000n });
});

test("A3: a thread that was held up looks again before it says that the disk is not done", () => {
  const { clock, book, heard, holdUp } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  const look = () => {
    holdUp(DISK_WAIT_MS);
    clock.advance(ACK_WINDOW_MS);
  };
  for (let i = 1; i < DISK_LOOKS_MIN; i += 1) look();
  expect(heard).toEqual([]);
  book.durable(record, clock.monoNs());
  look();
  expect(heard.map(({ first }) => first.durable)).toEqual([true]);
  const another = killOf("team/blue");
  enforce(book, another, clock);
  for (let i = 1; i < DISK_LOOKS_MIN; i += 1) look();
  expect(heard).toHaveLength(1);
  look();
  expect(heard.map(({ first }) => first.durable)).toEqual([true, false]);
});

test("A3: a thread that is held up without end tells what it knows", () => {
  const { clock, book, heard, holdUp } = bookOf();
  enforce(book, killOf("team/red"), clock);
  holdUp(DISK_WAIT_MS_MAX);
  clock.advance(ACK_WINDOW_MS);
  expect(heard.map(({ first }) => first.durable)).toEqual([false]);
});

test("A3: many kills of one window share messages, each of them signed by the node and bounded", () => {
  const { clock, book, heard } = bookOf();
  const records = Array.from({ length: 130 }, (_, i) => killOf(`agent/red/a${i}`));
  for (const record of records) enforce(book, record, clock);
  for (const record of records) book.durable(record, clock.monoNs());
  passes(clock, ACK_WINDOW_MS);
  expect(heard.map(({ all }) => all.length)).toEqual([ACKS_PER_MESSAGE_MAX, 64, 2]);
  const all = heard.flatMap((one) => one.all);
  expect(all.map(({ scope }) => scope)).toEqual(records.map(({ scope }) => scope));
  expect(all.every(({ node, bootId }) => node === "n1" && bootId === "boot")).toBe(true);
});

test("the stream's copy of what was told asks for nothing; a repetition on the fast path does", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  book.durable(record, clock.monoNs());
  clock.advance(ACK_WINDOW_MS);
  book.repeat(record, true);
  // The ack may still be on its way to whoever says it again.
  book.repeat(record, false);
  clock.advance(Number(REPEAT_AFTER_NS / 1_000_000n) - 1);
  book.repeat(record, true);
  clock.advance(1);
  book.repeat(record, true);
  clock.advance(ACK_WINDOW_MS);
  expect(heard).toHaveLength(1);
  book.repeat(record, false);
  clock.advance(ACK_WINDOW_MS);
  expect(heard).toHaveLength(2);
});

test("what was merged in silence is told when its copy comes, once", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  book.assume(record, { isDurable: true, isClosed: true });
  clock.advance(1_000);
  expect(heard).toEqual([]);
  book.repeat(record, true);
  clock.advance(ACK_WINDOW_MS);
  book.repeat(record, true);
  clock.advance(1_000);
  expect(heard.map(({ first }) => first.durable)).toEqual([true]);
});

test("A4: all is closed only once every kill has ended what it covers, or was undone", () => {
  const { clock, book } = bookOf();
  const [first, undone] = [killOf("team/red"), killOf("team/blue")];
  expect(book.isAllClosed).toBe(true);
  book.begun(first, true);
  book.begun(undone, true);
  // Whether its ack is told or kept back makes no difference.
  book.assume(first, { isDurable: false, isClosed: false });
  enforce(book, undone, clock);
  const again = world.make("team/red", kill(), signers.operator);
  book.begun(again, true);
  book.closed(first, 1, clock.monoNs());
  book.begun(world.make("team/blue", revive), false);
  expect(book.isAllClosed, "the newer kill of the scope is not through").toBe(false);
  book.closed(again, 0, clock.monoNs());
  expect(book.isAllClosed).toBe(true);
});

test("A2: what is closed later than all else is told by itself, and the first word of it stands", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  book.durable(record, clock.monoNs());
  passes(clock, ACK_WINDOW_MS);
  expect(heard.map(({ first }) => first.closed)).toEqual([false]);
  book.closed(record, 3, clock.monoNs());
  passes(clock, ACK_WINDOW_MS);
  expect(heard[1]?.first).toMatchObject({ closed: true, closedCount: 3, closedNs: 5_000_000n });
  book.closed(record, 7, clock.monoNs());
  passes(clock, DISK_WAIT_MS);
  expect(heard).toHaveLength(2);
  clock.advance(Number(REPEAT_AFTER_NS / 1_000_000n));
  book.repeat(record, false);
  passes(clock, ACK_WINDOW_MS);
  expect(heard[2]?.first).toMatchObject({ closedCount: 3, closedNs: 5_000_000n });
});

test("what was merged in silence tells no news of itself, and all of it when it is asked for", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  book.assume(record, { isDurable: false, isClosed: false });
  book.durable(record, clock.monoNs());
  book.closed(record, 2, clock.monoNs());
  book.gated(record, clock.monoNs());
  book.swept(record, 1, clock.monoNs());
  passes(clock, DISK_WAIT_MS);
  expect(heard).toEqual([]);
  book.repeat(record, false);
  passes(clock, ACK_WINDOW_MS);
  expect(heard.map(({ first }) => first)).toMatchObject([
    { durable: true, closed: true, closedCount: 2, sweptCount: 1 },
  ]);
});

describe("the kernel's part of a kill", () => {
  /** A kill of which nothing else is left to tell. */
  function toldOf() {
    const made = bookOf();
    const record = killOf("team/red");
    enforce(made.book, record, made.clock);
    made.book.closed(record, 1, made.clock.monoNs());
    made.book.durable(record, made.clock.monoNs());
    passes(made.clock, ACK_WINDOW_MS);
    expect(made.heard).toHaveLength(1);
    return { ...made, record };
  }

  test("A1: is told when the gate has it, by itself where all else was told, and once", () => {
    const { clock, book, heard, record } = toldOf();
    expect(heard[0]?.first).toMatchObject({ gatedNs: 0n });
    book.gated(record, clock.monoNs());
    passes(clock, ACK_WINDOW_MS);
    expect(heard.map(({ first }) => first.gatedNs)).toEqual([0n, 5_000_000n]);
    book.gated(record, clock.monoNs());
    passes(clock, ACK_WINDOW_MS);
    expect(heard).toHaveLength(2);
  });

  test("A3: goes with the rest where there is more to tell", () => {
    const { clock, book, heard } = bookOf();
    const record = killOf("team/red");
    enforce(book, record, clock);
    passes(clock, DISK_WAIT_MS);
    book.gated(record, clock.monoNs());
    book.swept(record, 0, clock.monoNs());
    passes(clock, DISK_WAIT_MS);
    expect(heard).toHaveLength(1);
    book.closed(record, 0, clock.monoNs());
    passes(clock, DISK_WAIT_MS);
    expect(heard[1]?.first).toMatchObject({ gatedNs: 25_000_000n, sweptNs: 25_000_000n });
  });

  test("counts the sockets of every look, and tells of a look that found none once", () => {
    const { clock, book, heard, record } = toldOf();
    for (const found of [0, 0, 2, 0, 3]) {
      book.swept(record, found, clock.monoNs());
      passes(clock, ACK_WINDOW_MS);
    }
    expect(heard.slice(1).map(({ first }) => first.sweptCount)).toEqual([0, 2, 5]);
    expect(heard[1]?.first).toMatchObject({ sweptNs: 5_000_000n });
  });
});

test("refusals beyond so many of a second are not told, and those of the next second are", () => {
  const { clock, book, heard } = bookOf();
  const refuse = (count: number) => {
    for (let i = 0; i < count; i += 1) {
      book.refused(killOf(`agent/red/a${i}`), "key_unknown", clock.monoNs());
    }
  };
  const told = () => heard.flatMap(({ all }) => all).length;
  refuse(REFUSAL_ACKS_PER_SECOND + 5);
  passes(clock, ACK_WINDOW_MS);
  expect(told()).toBe(REFUSAL_ACKS_PER_SECOND);
  clock.advance(1_000);
  refuse(3);
  passes(clock, ACK_WINDOW_MS);
  expect(told()).toBe(REFUSAL_ACKS_PER_SECOND + 3);
});

test("of a record that is no part of the state any more nothing is told", () => {
  const { clock, book, heard } = bookOf();
  const record = killOf("team/red");
  enforce(book, record, clock);
  book.forget(record);
  book.durable(record, clock.monoNs());
  passes(clock, DISK_WAIT_MS);
  expect(heard).toEqual([]);
});

test("A1: what an older record of the scope comes to is not told of the current one", () => {
  const { clock, book, heard } = bookOf();
  const older = killOf("team/red");
  enforce(book, older, clock);
  const current = world.make("team/red", kill(), signers.operator);
  enforce(book, current, clock);
  book.durable(older, clock.monoNs());
  book.closed(older, 7, clock.monoNs());
  passes(clock, DISK_WAIT_MS);
  const ofCurrent = heard
    .flatMap(({ all }) => all)
    .filter(({ recordHash }) => Buffer.compare(recordHash, current.hash) === 0);
  expect(ofCurrent).toMatchObject([{ durable: false, closed: false, closedCount: 0 }]);
});

test("what waits is told at the end", () => {
  const { clock, book, heard } = bookOf();
  enforce(book, killOf("team/red"), clock);
  book.refused(killOf("team/blue"), "key_unknown", clock.monoNs());
  book.close();
  expect(heard[0]?.all.map(({ scope, refused }) => [scope, refused])).toEqual([
    ["team/blue", "key_unknown"],
    ["team/red", ""],
  ]);
});
