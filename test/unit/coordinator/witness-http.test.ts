import { createHash } from "node:crypto";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startWitnessServer } from "../../../adapters/witness-server.ts";
import { checkpointText, openCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import { consistencyProof } from "../../../audit/merkle.ts";
import {
  encodeNote,
  encodeVkey,
  KEY_TYPES,
  parseVkey,
  signatureLine,
} from "../../../audit/signed-note.ts";
import { readTile, subtreesFromTiles } from "../../../audit/tiles.ts";
import { ADD_CHECKPOINT_BYTES_MAX, encodeAddCheckpoint } from "../../../audit/witness.ts";
import { OutsideLogsFault, readOutsideLogs } from "../../../coordinator/outside-logs.ts";
import { Witness } from "../../../coordinator/witness.ts";
import type { Store } from "../../../ports/store.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { buildLog, entriesOf, recordsOf, signerOf } from "../audit/sample-log.ts";

const OUTSIDE = signerOf("log.example.com/somebody", KEY_TYPES.log, 7);
const OWN = signerOf("acme/node-7/e1", KEY_TYPES.log, 1);

type Signer = typeof OUTSIDE;

/** The body of a log's question, as its own software would make it. */
function bodyOf(signer: Signer, size: number, { oldSize = 0, bend = 0 } = {}): string {
  const records = recordsOf(size);
  const last = records[size - 1] as (typeof records)[0];
  const log = buildLog(entriesOf(records.with(size - 1, { ...last, t: last.t + bend })));
  const text = checkpointText({ origin: signer.key.name, size, root: log.edge.root() });
  const checkpoint = encodeNote(text, [signCheckpoint(text, signer)]);
  const read = (path: string) => log.files.get(path);
  const subtrees = subtreesFromTiles(size, (tile) => readTile({ read }, tile));
  const proof = consistencyProof(oldSize, size, subtrees);
  return encodeAddCheckpoint({ oldSize, proof, checkpoint });
}

/** The same question with those signature lines beside the log's own. */
function besideIn(body: string, lines: readonly string[]): string {
  return body + lines.join("");
}

const JUNK = Array.from({ length: 14 }, (_, i) =>
  signatureLine(signerOf(`junk-${i}`, KEY_TYPES.log, 3).key, Buffer.alloc(64)),
);

function optionsOf(store: Store) {
  return {
    mesh: "acme",
    replicaId: "c1",
    signer: twinKeys(twinRandom(4)).loadOrCreate("witness"),
    store,
    clock: twinClock(),
    outside: [OUTSIDE.key],
  };
}

async function setUp() {
  const told: string[] = [];
  const store = twinStore({});
  const witness = new Witness({ ...optionsOf(store), tell: (event) => told.push(event) });
  const bugs: unknown[] = [];
  const server = await startWitnessServer({
    host: "127.0.0.1",
    port: 0,
    bodyBytesMax: ADD_CHECKPOINT_BYTES_MAX,
    door: {
      add: (body) => witness.addFromOutside(body),
      latest: (hash) => witness.latest(hash),
    },
    onBug: (error) => bugs.push(error),
  });
  onTestFinished(() => server.close());
  const url = `http://127.0.0.1:${server.port}`;
  const ask = async (path: string, body?: string) => {
    const answer = await fetch(url + path, body === undefined ? {} : { method: "POST", body });
    const type = answer.headers.get("content-type");
    return { status: answer.status, type, text: await answer.text() };
  };
  return { store, told, witness, bugs, ask, add: (body: string) => ask("/add-checkpoint", body) };
}

describe("the witness over HTTP", () => {
  test("cosigns a log from the operator's file, whose line verifies", async () => {
    const { witness, ask, add } = await setUp();
    const first = bodyOf(OUTSIDE, 100);
    const { status, text } = await add(first);
    expect(status).toBe(200);
    const key = parseVkey(witness.vkey);
    if (!key.ok) throw new Error(key.detail);
    const note = first.slice(first.indexOf("\n\n") + 2) + text;
    const opened = openCheckpoint(Buffer.from(note), OUTSIDE.key, [key.value]);
    expect(opened).toMatchObject({ ok: true, value: { size: 100, cosignatures: [{}] } });
    expect((await add(bodyOf(OUTSIDE, 300, { oldSize: 100 }))).status).toBe(200);

    const hash = createHash("sha256").update(OUTSIDE.key.name).digest("hex");
    const latest = await ask(`/${hash}/checkpoint`);
    expect(latest).toMatchObject({ status: 200, text: expect.stringContaining("\n300\n") });
    expect((await ask(`/${"0".repeat(64)}/checkpoint`)).status).toBe(404);
    // It is none of the logs that must exist.
    expect(witness.logs()).toEqual([]);
  });

  test("answers a log that is elsewhere with the size, and keeps what contradicts", async () => {
    const { witness, add } = await setUp();
    await add(bodyOf(OUTSIDE, 100));
    const elsewhere = await add(bodyOf(OUTSIDE, 300, { oldSize: 50 }));
    expect(elsewhere).toEqual({ status: 409, type: "text/x.tlog.size", text: "100\n" });
    const fork = await add(bodyOf(OUTSIDE, 100, { oldSize: 100, bend: 1 }));
    expect(fork).toMatchObject({ status: 422, type: expect.stringContaining("text/plain") });
    expect(witness.evidence()).toMatchObject([{ kind: "fork", origin: OUTSIDE.key.name }]);
    const inconsistent = await add(
      bodyOf(OUTSIDE, 300, { oldSize: 100 }).replace(/\n[^\n]+\n/, "\n"),
    );
    expect(inconsistent.status).toBe(422);
  });

  test("knows a log of the mesh from its node alone, under the key that the node named", async () => {
    const { witness, add } = await setUp();
    expect((await add(bodyOf(OWN, 10))).status).toBe(404);
    await witness.add("node-7", encodeVkey(OWN.key), Buffer.from(bodyOf(OWN, 10)));
    expect((await add(bodyOf(OWN, 20, { oldSize: 10 }))).status).toBe(200);
    const thief = signerOf(OWN.key.name, KEY_TYPES.log, 9);
    expect((await add(bodyOf(thief, 30, { oldSize: 20 }))).status).toBe(403);
    expect(witness.logs()).toMatchObject([{ node: "node-7", size: 20 }]);
  });

  test("refuses what is no question", async () => {
    const { bugs, ask, add } = await setUp();
    expect((await add("old 0\n\nno checkpoint")).status).toBe(400);
    expect((await add("x".repeat(ADD_CHECKPOINT_BYTES_MAX + 1))).status).toBe(413);
    expect((await ask("/add-checkpoint")).status).toBe(405);
    expect((await ask("/")).status).toBe(404);
    expect(bugs).toEqual([]);
  });

  test("N4: what others wrote beside the log's signature is not published", async () => {
    const { witness, ask, add } = await setUp();
    const key = parseVkey(witness.vkey);
    if (!key.ok) throw new Error(key.detail);
    const forged = signatureLine(key.value, Buffer.alloc(72, 1));
    expect((await add(besideIn(bodyOf(OUTSIDE, 100), [...JUNK, forged]))).status).toBe(200);
    const hash = createHash("sha256").update(OUTSIDE.key.name).digest("hex");
    const { text } = await ask(`/${hash}/checkpoint`);
    const opened = openCheckpoint(Buffer.from(text), OUTSIDE.key, [key.value]);
    expect(opened).toMatchObject({ ok: true, value: { size: 100, cosignatures: [{}] } });
  });

  test("X4: nobody can hold a wrong proof against a log, nor fill up what is kept of it", async () => {
    const { witness, told, add } = await setUp();
    await add(bodyOf(OUTSIDE, 100));
    told.length = 0;
    const again = bodyOf(OUTSIDE, 100).replace("old 0", `old 100\n${"A".repeat(43)}=`);
    for (const line of JUNK) expect((await add(besideIn(again, [line]))).status).toBe(422);
    expect(told).toEqual([]);
    expect(witness.evidence()).toEqual([]);
    const fork = bodyOf(OUTSIDE, 100, { oldSize: 100, bend: 1 });
    for (const line of JUNK) await add(besideIn(fork, [line]));
    expect(told).toEqual(["log_forked"]);
    expect(witness.evidence()).toMatchObject([{ kind: "fork", origin: OUTSIDE.key.name }]);
  });

  test("looks up one log for a question, and knows them all after a restart", async () => {
    const { store, witness, add } = await setUp();
    await add(bodyOf(OUTSIDE, 100));
    await witness.add("node-7", encodeVkey(OWN.key), Buffer.from(bodyOf(OWN, 10)));
    const again = new Witness({ ...optionsOf(store), tell: () => undefined });
    const list = vi.spyOn(store, "list");
    for (const known of [witness, again]) {
      for (const { key } of [OUTSIDE, OWN]) {
        const hash = createHash("sha256").update(key.name).digest("hex");
        expect(known.latest(hash)).toContain(key.name);
      }
      expect(known.latest("0".repeat(64))).toBeUndefined();
    }
    expect(list).not.toHaveBeenCalled();
  });

  test("says so when it could not keep what it would have cosigned", async () => {
    const { store, bugs, add } = await setUp();
    await store.close();
    expect((await add(bodyOf(OUTSIDE, 100))).status).toBe(500);
    expect(bugs).toHaveLength(1);
  });
});

describe("the file of logs from outside", () => {
  const read = (text: string) => readOutsideLogs(Buffer.from(text), "acme");
  const line = `log ${encodeVkey(OUTSIDE.key)}\n`;

  test("is a policy with keys alone", () => {
    expect(read(`${line}quorum none\n`)).toMatchObject([{ name: OUTSIDE.key.name }]);
    const witness = encodeVkey(signerOf("w", KEY_TYPES.cosignature, 3).key);
    expect(() => read(`${line}witness w ${witness}\nquorum w\n`)).toThrow(OutsideLogsFault);
    expect(() => read(line)).toThrow(OutsideLogsFault);
  });

  test("names no log of the mesh, and none twice", () => {
    expect(() => read(`log ${encodeVkey(OWN.key)}\nquorum none\n`)).toThrow(/mesh's own/);
    const second = encodeVkey(signerOf(OUTSIDE.key.name, KEY_TYPES.log, 8).key);
    expect(() => read(`${line}log ${second}\nquorum none\n`)).toThrow(/two keys/);
  });
});
