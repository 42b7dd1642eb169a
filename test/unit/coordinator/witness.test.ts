import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  checkpointText,
  cosignedAt,
  openCheckpoint,
  signCheckpoint,
} from "../../../audit/checkpoint.ts";
import { consistencyProof } from "../../../audit/merkle.ts";
import { encodeNote, encodeVkey, KEY_TYPES, parseVkey } from "../../../audit/signed-note.ts";
import { readTile, subtreesFromTiles } from "../../../audit/tiles.ts";
import { encodeAddCheckpoint } from "../../../audit/witness.ts";
import { WITNESSED_PATH } from "../../../audit/witnessed.ts";
import { EVIDENCE_MAX } from "../../../coordinator/evidence.ts";
import { type NoteLog, Witness } from "../../../coordinator/witness.ts";
import { WitnessLink } from "../../../node/audit/witness-link.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import {
  NodeReplySchema,
  NodeRequestSchema,
  WitnessReplySchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { buildLog, entriesOf, recordsOf, type SampleLog, signerOf } from "../audit/sample-log.ts";

const ORIGIN = "acme/node-7/e1";
const LOG = signerOf(ORIGIN, KEY_TYPES.log, 1);
const VKEY = encodeVkey(LOG.key);

type Made = SampleLog & { readonly size: number; readonly checkpoint: string };

function made(size: number, bend = (t: number) => t): Made {
  const records = recordsOf(size);
  const last = records[size - 1] as (typeof records)[0];
  const log = buildLog(entriesOf(records.with(size - 1, { ...last, t: bend(last.t) })));
  const text = checkpointText({ origin: ORIGIN, size, root: log.edge.root() });
  return { ...log, size, text, checkpoint: encodeNote(text, [signCheckpoint(text, LOG)]) };
}

function bodyFrom(oldSize: number, log: Made): Buffer {
  const read = (path: string) => log.files.get(path);
  const subtree = subtreesFromTiles(log.size, (tile) => readTile({ read }, tile));
  const proof = consistencyProof(oldSize, log.size, subtree);
  return Buffer.from(encodeAddCheckpoint({ oldSize, proof, checkpoint: log.checkpoint }));
}

/** The key of a further log, and how it is brought for the first time. */
function firstOf(origin: string): readonly [vkey: string, body: Uint8Array] {
  const signer = signerOf(origin, KEY_TYPES.log, 3);
  const text = checkpointText({ origin, size: 10, root: made(10).edge.root() });
  const checkpoint = encodeNote(text, [signCheckpoint(text, signer)]);
  const body = encodeAddCheckpoint({ oldSize: 0, proof: [], checkpoint });
  return [encodeVkey(signer.key), Buffer.from(body)];
}

function setUp(noteLog?: NoteLog) {
  const store = twinStore({});
  const told: string[] = [];
  const clock = twinClock();
  const witness = new Witness({
    mesh: "acme",
    replicaId: "c1",
    signer: twinKeys(twinRandom(4)).loadOrCreate("witness"),
    store,
    clock,
    tell: (event) => told.push(event),
    ...(noteLog && { noteLog }),
  });
  return { store, told, clock, witness };
}

describe("the coordinator as a witness", () => {
  test("X4: a log is written down before it is cosigned, and while it grows once a minute", async () => {
    const noted: number[] = [];
    let fault: string | undefined = "the disk is full";
    const { witness, store, clock } = setUp(async ({ size, vkey, origin }) => {
      expect([vkey, origin]).toEqual([VKEY, ORIGIN]);
      if (fault === undefined) noted.push(size);
      return fault;
    });
    const refused = await witness.add("node-7", VKEY, bodyFrom(0, made(100)));
    expect([refused.status, witness.logs()]).toEqual([503, []]);
    fault = undefined;
    expect((await witness.add("node-7", VKEY, bodyFrom(0, made(100)))).status).toBe(200);
    expect((await witness.add("node-7", VKEY, bodyFrom(100, made(200)))).status).toBe(200);
    expect(noted).toEqual([100]);
    clock.advance(60_000);
    // What is listed already is cosigned whatever its own log says, and written down later.
    fault = "the disk is full";
    expect((await witness.add("node-7", VKEY, bodyFrom(200, made(250)))).status).toBe(200);
    fault = undefined;
    expect((await witness.add("node-7", VKEY, bodyFrom(250, made(300)))).status).toBe(200);
    expect(noted).toEqual([100, 300]);
    await witness.noteKnown();
    expect(noted).toEqual([100, 300]);
    // As a version before this one has left it.
    const [[key, value]] = store.list("") as [[string, Uint8Array]];
    const { notedAtMs: _, ...before } = JSON.parse(Buffer.from(value).toString());
    await store.commit([{ key, value: Buffer.from(JSON.stringify(before)) }]);
    await witness.noteKnown();
    expect(noted).toEqual([100, 300, 300]);
  });

  test("X1: learns a log from its node, cosigns what goes on from there, and lists it", async () => {
    const { witness, told } = setUp();
    const first = await witness.add("node-7", VKEY, bodyFrom(0, made(100)));
    expect(first.status).toBe(200);
    const log = made(300);
    const next = await witness.add("node-7", VKEY, bodyFrom(100, log));
    const key = parseVkey(witness.vkey);
    if (!key.ok) throw new Error(key.detail);
    const opened = openCheckpoint(Buffer.from(next.cosigned), LOG.key, [key.value]);
    expect(opened).toMatchObject({ ok: true, value: { size: 300, cosignatures: [{}] } });
    expect(witness.logs()).toMatchObject([
      { origin: ORIGIN, node: "node-7", vkey: VKEY, size: 300 },
    ]);
    expect(told).toEqual(["log_opened"]);
    expect(cosignedAt(key.value, log.text, Buffer.alloc(72))).toBeUndefined();
  });

  test("X1: takes no log from another node, and no other key for one it knows", async () => {
    const { witness, told } = setUp();
    const body = bodyFrom(0, made(10));
    expect((await witness.add("node-8", VKEY, body)).status).toBe(404);
    await witness.add("node-7", VKEY, body);
    const other = encodeVkey(signerOf(ORIGIN, KEY_TYPES.log, 2).key);
    // What it has of that log goes along: a node that lost its disk learns that the name is taken.
    const refused = await witness.add("node-7", other, bodyFrom(10, made(20)));
    expect(refused).toMatchObject({ status: 403, cosigned: witness.logs()[0]?.checkpoint });
    expect(refused.cosigned).not.toBe("");
    expect(told).toContain("log_key_refused");
    // And of all that follow it, so that it goes on behind them; one behind a hole is not one of them.
    for (const epoch of [2, 3, 5]) await witness.add("node-7", ...firstOf(`acme/node-7/e${epoch}`));
    const behind = await witness.add("node-7", other, bodyFrom(10, made(20)));
    expect(behind.status).toBe(403);
    expect(behind.cosigned).toMatch(/^acme\/node-7\/e3\n/);
    expect((await witness.add("node-7", VKEY, Buffer.from("x"))).status).toBe(400);
    const epochs = ["1", "1024", "1025", "0", "01", "", "1/e2"].map(
      (epoch) => `acme/node-7/e${epoch}`,
    );
    expect(epochs.map((origin) => witness.isOf("node-7", origin))).toEqual([
      true,
      true,
      ...Array(5).fill(false),
    ]);
  });

  test("X2: of two requests that cross, one at most is cosigned beyond the other", async () => {
    const { witness } = setUp();
    await witness.add("node-7", VKEY, bodyFrom(0, made(100)));
    const answers = await Promise.all(
      [200, 300, 250].map((size) => witness.add("node-7", VKEY, bodyFrom(100, made(size)))),
    );
    const cosigned = answers.filter(({ status }) => status === 200);
    expect(cosigned).toHaveLength(1);
    const [log] = witness.logs();
    expect(cosigned[0]?.cosigned).toBe(log?.checkpoint);
  });

  test("X2: nothing is cosigned that could not be kept", async () => {
    const { store, witness } = setUp();
    await witness.add("node-7", VKEY, bodyFrom(0, made(100)));
    await store.close();
    await expect(witness.add("node-7", VKEY, bodyFrom(100, made(200)))).rejects.toThrow();
  });

  test("X3: keeps both checkpoints of a fork, and no more pairs than its limit", async () => {
    const { witness, told } = setUp();
    await witness.add("node-7", VKEY, bodyFrom(0, made(100)));
    for (let i = 1; i <= EVIDENCE_MAX + 2; i++) {
      const fork = made(100, (t) => t + i);
      expect((await witness.add("node-7", VKEY, bodyFrom(100, fork))).status).toBe(422);
    }
    expect(witness.evidence()).toHaveLength(EVIDENCE_MAX);
    expect(witness.evidence()[0]).toMatchObject({ kind: "fork", origin: ORIGIN });
    expect(told.filter((event) => event === "log_forked")).toHaveLength(EVIDENCE_MAX + 2);
  });
});

/** A node's link to that witness, its log as the test says. */
function linked(
  witness: Witness,
  clock: ReturnType<typeof twinClock>,
  onRead: (path: string) => void = () => undefined,
) {
  const seen = { cosigned: [] as string[], disowned: [] as string[], refused: [] as string[] };
  // What the coordinator knows from outside, what the node asked with, and what it kept.
  const outside = { note: "", askedWith: [] as bigint[], kept: [] as string[] };
  let log = made(1);
  let isReachable = true;
  let isBroken = false;
  const link = new WitnessLink({
    node: "node-7",
    bootId: "b",
    newId: () => "r",
    vkey: VKEY,
    clock,
    read: (path) => {
      onRead(path);
      const kept = outside.kept.at(-1);
      if (path === WITNESSED_PATH) return kept === undefined ? undefined : Buffer.from(kept);
      return log.files.get(path);
    },
    ask: async (_method, bytes) => {
      if (!isReachable) return undefined;
      if (isBroken) throw new Error("the way is closed");
      const { body } = fromBinary(NodeRequestSchema, bytes);
      if (body.case !== "witness") throw new Error("asked something else");
      const said = await witness.add("node-7", body.value.vkey, body.value.body);
      outside.askedWith.push(body.value.witnessedSize);
      const witnessed = outside.note;
      const value = create(WitnessReplySchema, { ...said, vkey: witness.vkey, witnessed });
      const reply = create(NodeReplySchema, { requestId: "r", body: { case: "witness", value } });
      return { bytes: toBinary(NodeReplySchema, reply), kid: "c1" };
    },
    onCosigned: (text) => seen.cosigned.push(text),
    onWitnessed: (note) => outside.kept.push(note),
    onDisowned: (checkpoint) => seen.disowned.push(checkpoint),
    onRefused: (why) => seen.refused.push(why),
  });
  const signed = async (next: Made): Promise<void> => {
    log = next;
    link.signed(next.checkpoint);
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
  };
  const reachable = (is: boolean) => (isReachable = is);
  return { seen, outside, signed, reachable, broken: (is: boolean) => (isBroken = is) };
}

describe("a node's log at its witness", () => {
  test("K1: goes on from wherever the witness is, and again once it is reached", async () => {
    const { witness, clock } = setUp();
    const first = linked(witness, clock);
    await first.signed(made(100));
    await first.signed(made(300));
    first.reachable(false);
    await first.signed(made(301));
    expect(first.seen.cosigned).toEqual([made(100).text, made(300).text]);
    first.reachable(true);
    clock.advance(1_000);
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    expect(first.seen.cosigned.at(-1)).toBe(made(301).text);
    // A restart does not know where the witness is.
    const second = linked(witness, clock);
    await second.signed(made(400));
    expect(second.seen).toMatchObject({ cosigned: [made(400).text], disowned: [], refused: [] });
  });

  test("K1: a witness that names another size each time is asked four times, and again after a second", async () => {
    const { witness, clock } = setUp();
    let asked = 0;
    witness.add = async () => {
      asked += 1;
      return { status: 409, body: `${1 + (asked % 2)}`, cosigned: "" };
    };
    const { seen, signed } = linked(witness, clock);
    await signed(made(300));
    expect(asked).toBe(4);
    clock.advance(1_000);
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    expect(asked).toBe(8);
    expect(seen).toEqual({ cosigned: [], disowned: [], refused: [] });
  });

  test("a proof reads what the one before did not have", async () => {
    const { witness, clock } = setUp();
    const reads: string[] = [];
    const { seen, signed } = linked(witness, clock, (path) => reads.push(path));
    for (const size of [600, 601, 602]) {
      reads.length = 0;
      await signed(made(size));
    }
    expect(seen.cosigned).toHaveLength(3);
    // The roots of full tiles are remembered; what is at the edge is read once more.
    expect(reads).not.toEqual([]);
    expect(reads.filter((path) => path.startsWith("tile/1/"))).toEqual([]);
  });

  test("what witnesses outside have cosigned is kept where it is newer and this log's own", async () => {
    const { witness, clock } = setUp();
    const { outside, signed, seen } = linked(witness, clock);
    const told = (note: string) => Object.assign(outside, { note });
    await signed(made(100));
    const seenOutside = (size: number) =>
      `${made(size).checkpoint}— w1 ${Buffer.alloc(72, 1).toString("base64")}\n`;
    told(seenOutside(100));
    await signed(made(200));
    // The same again, an older one, another log's, and what is none.
    const stranger = signerOf(ORIGIN, KEY_TYPES.log, 9);
    const forged = encodeNote(made(300).text, [signCheckpoint(made(300).text, stranger)]);
    for (const note of [seenOutside(100), seenOutside(99), forged, "junk"]) {
      told(note);
      await signed(made(300 + outside.askedWith.length));
    }
    expect(outside.kept).toEqual([seenOutside(100)]);
    told(seenOutside(250));
    await signed(made(400));
    await signed(made(401));
    expect(outside.kept).toEqual([seenOutside(100), seenOutside(250)]);
    expect(outside.askedWith.map(Number)).toEqual([0, 0, 100, 100, 100, 100, 100, 250]);
    expect(seen.refused).toEqual([]);
  });

  test("a cosignature that is another text's does not count", async () => {
    const { witness, clock } = setUp();
    const add = witness.add.bind(witness);
    witness.add = async (...of) => {
      const said = await add(...of);
      const other = setUp().witness;
      const { body } = await other.add("node-7", VKEY, bodyFrom(0, made(90)));
      return { ...said, body };
    };
    const { seen, signed } = linked(witness, clock);
    await signed(made(100));
    expect(seen).toMatchObject({ cosigned: [], refused: ["the cosignature is wrong"] });
  });

  test("what throws on the way is told once, and the newest checkpoint is tried again", async () => {
    const { witness, clock } = setUp();
    const { seen, signed, broken } = linked(witness, clock);
    broken(true);
    await signed(made(100));
    clock.advance(1_000);
    await signed(made(200));
    expect(seen).toMatchObject({ cosigned: [], refused: ["the way is closed"] });
    broken(false);
    clock.advance(1_000);
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    expect(seen.cosigned).toEqual([made(200).text]);
  });

  test.each<[string, Made]>([
    ["an older state of itself", made(200)],
    ["another of the same size", made(300, (t) => t + 1)],
    ["another that went on from before", made(400, (t) => t)],
  ])("K2: is disowned when it is %s", async (name, now) => {
    const { witness, clock } = setUp();
    const seen = name.startsWith("another that") ? made(300, (t) => t + 1) : made(300);
    await witness.add("node-7", VKEY, bodyFrom(0, seen));
    const restarted = linked(witness, clock);
    await restarted.signed(now);
    expect(restarted.seen.cosigned).toEqual([]);
    expect(restarted.seen.disowned[0]?.startsWith(seen.checkpoint)).toBe(true);
  });
});
