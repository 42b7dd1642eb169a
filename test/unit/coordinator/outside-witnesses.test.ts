import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeVkey, KEY_TYPES } from "../../../audit/signed-note.ts";
import {
  AHEAD_MS_MAX,
  ASKED_AT_ONCE_MAX,
  SILENT_MS,
} from "../../../coordinator/outside/witness-lane.ts";
import { signerOf } from "../audit/sample-log.ts";
import { LOG, ORIGIN } from "./archive-world.ts";
import { EVERY_MS, logOf, OutsideWorld } from "./outside-world.ts";

const [SMALL, MIDDLE, WHOLE, LATER] = [logOf(200), logOf(700), logOf(1_100), logOf(1_400)];
const ONE = "quorum w1\n";
const ALL = "group all all w1 w2\nquorum all\n";
const FOREVER = new Promise<never>(() => undefined);

/** How many questions were asked of a witness. */
const askedOf = (world: OutsideWorld, name: string) =>
  world.asked.filter(({ witness, method }) => witness === name && method === "POST").length;

describe("a log that is brought to witnesses outside", () => {
  test("is cosigned as it grows, and an auditor finds that with the operator's file", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.grown(SMALL);
    expect(world.audited()).toMatchObject({ codes: ["quorum_not_met"] });
    await world.pass(1_000);
    expect(world.audited()).toEqual({ codes: [], size: 200, by: ["w1"] });
    world.grown(MIDDLE);
    await world.pass(EVERY_MS);
    expect(world.audited()).toEqual({ codes: [], size: 700, by: ["w1"] });
    expect(world.news).toEqual([]);
    expect(world.asked.map(({ body }) => body.split("\n", 1)[0])).toEqual(["old 0", "old 200"]);
    const { key } = world.place("w1");
    const opened = openCheckpoint(world.witnessed as Buffer, LOG.key, [key]);
    expect(opened).toMatchObject({ ok: true, value: { size: 700, cosignatures: [{}] } });
  });

  test("B1: is brought so often and not more, however fast it grows", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    for (const log of [SMALL, MIDDLE, WHOLE]) {
      world.grown(log);
      await world.pass(1_000);
    }
    expect(askedOf(world, "w1")).toBe(1);
    await world.pass(EVERY_MS);
    expect(askedOf(world, "w1")).toBe(2);
    expect(world.audited()).toMatchObject({ codes: [], size: 1_100 });
    await world.pass(2 * EVERY_MS);
    expect(askedOf(world, "w1")).toBe(2);
  });

  test("L3: goes on from where the witness says that it is", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.grown(SMALL);
    await world.pass(1_000);
    const lost = new OutsideWorld(["w1"], ONE);
    lost.meshes[0]?.witness.addFromOutside(Buffer.from(world.asked[0]?.body ?? ""));
    lost.grown(WHOLE);
    await lost.pass(1_000);
    const olds = lost.asked.map(({ body }) => body.split("\n", 1)[0]);
    expect(olds).toEqual(["old 0", "old 200"]);
    expect(lost.audited()).toMatchObject({ codes: [], size: 1_100 });
  });

  test("resumes after a crash from what it kept, and asks nothing twice", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.grown(SMALL);
    await world.pass(1_000);
    world.restart();
    // What lies there is told again, since whoever heard it is gone too.
    expect(world.told).toEqual([world.witnessed, world.witnessed].map(String));
    await world.pass(EVERY_MS);
    expect(askedOf(world, "w1")).toBe(1);
    world.grown(MIDDLE);
    await world.pass(EVERY_MS);
    expect(world.asked.at(-1)?.body).toMatch(/^old 200\n/);
    expect(world.audited()).toMatchObject({ codes: [], size: 700 });
  });

  test("B3: keeps what has the quorum until something newer has it", async () => {
    const world = new OutsideWorld(["w1", "w2"], ALL);
    world.grown(SMALL);
    await world.pass(1_000);
    expect(world.audited()).toEqual({ codes: [], size: 200, by: ["w1", "w2"] });
    world.instead.set("w2", async () => ({ status: 503, body: "" }));
    world.grown(MIDDLE);
    await world.pass(2 * EVERY_MS);
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
    expect(world.statuses.at(-1)?.unwitnessedMs).toBeGreaterThan(EVERY_MS / 2);
    world.instead.clear();
    await world.pass(6 * EVERY_MS);
    expect(world.audited()).toEqual({ codes: [], size: 700, by: ["w1", "w2"] });
    expect(world.statuses.at(-1)?.unwitnessedMs).toBe(0);
  });

  test("W2: a witness that never answers delays neither the log nor the others", async () => {
    const world = new OutsideWorld(["w1", "w2"], ONE);
    world.instead.set("w2", () => FOREVER);
    for (const log of [SMALL, MIDDLE, WHOLE, LATER]) {
      world.grown(log);
      await world.pass(EVERY_MS);
      expect(world.audited()).toEqual({ codes: [], size: log.size, by: ["w1"] });
    }
    expect(askedOf(world, "w2")).toBeLessThanOrEqual(ASKED_AT_ONCE_MAX);
    expect(world.statuses.at(-1)?.witnesses[1]?.waitingMs).toBeGreaterThan(3 * EVERY_MS - 5_000);
  });

  test("nodes are told what has the quorum, and nothing else in its place", async () => {
    const world = new OutsideWorld(["w1", "w2"], ALL);
    world.instead.set("w2", async () => ({ status: 503, body: "" }));
    world.grown(SMALL);
    await world.pass(1_000);
    expect(world.witnessed).toBeDefined();
    world.restart();
    expect(world.told).toEqual([]);
    world.instead.clear();
    await world.pass(6 * EVERY_MS);
    const whole = String(world.witnessed);
    expect(world.told).toEqual([whole]);
    world.instead.set("w2", async () => ({ status: 503, body: "" }));
    world.grown(MIDDLE);
    await world.pass(6 * EVERY_MS);
    expect(world.told).toEqual([whole]);
  });

  test("B2: a cosignature that comes late is put to the checkpoint that it is of", async () => {
    const world = new OutsideWorld(["w1", "w2"], ALL);
    const late = Promise.withResolvers<void>();
    const slow = world.meshes[1];
    world.instead.set("w2", async ({ body }) => {
      await late.promise;
      return slow?.witness.addFromOutside(Buffer.from(body)) as Promise<never>;
    });
    world.grown(SMALL);
    await world.pass(EVERY_MS);
    world.grown(MIDDLE);
    await world.pass(EVERY_MS);
    expect(world.audited()).toMatchObject({ codes: ["quorum_not_met"] });
    world.instead.clear();
    late.resolve();
    await world.settle();
    expect(world.audited().size).toBeGreaterThanOrEqual(200);
    await world.pass(2_000);
    expect(world.audited()).toEqual({ codes: [], size: 700, by: ["w1", "w2"] });
  });

  test("is left alone where the file names other logs", async () => {
    const named = (key: typeof LOG.key) => `log ${encodeVkey(key)}\n${ONE}`;
    const other = signerOf("acme/node-8/e1", KEY_TYPES.log, 1).key;
    const world = new OutsideWorld(["w1"], named(other));
    world.grown(SMALL);
    await world.pass(2_000);
    expect(world.asked).toEqual([]);
    const own = new OutsideWorld(["w1"], named(LOG.key));
    own.grown(SMALL);
    await own.pass(2_000);
    expect(own.audited()).toMatchObject({ codes: [], size: 200 });
  });
});

describe("a witness outside that does not do its part", () => {
  const refusals: readonly [string, number, string, string][] = [
    ["does not know the log", 404, "", "outside_witness_refused"],
    ["does not take the signature", 403, "no", "outside_witness_refused"],
    ["finds the question malformed", 400, "no", "outside_witness_refused"],
    ["sends elsewhere", 302, "", "outside_witness_refused"],
    ["answers without a cosignature", 200, "thanks\n", "outside_witness_refused"],
    ["names no size", 409, "many\n", "outside_witness_refused"],
    ["has seen another log", 422, "no", "outside_witness_disputes"],
  ];

  test.each(refusals)("%s: told once, asked later, and heard when it does", async (...of) => {
    const [, status, body, event] = of;
    const world = new OutsideWorld(["w1"], ONE);
    world.instead.set("w1", ({ method }) =>
      method === "POST" ? Promise.resolve({ status, body }) : undefined,
    );
    world.grown(SMALL);
    await world.pass(20 * EVERY_MS);
    expect(world.news).toMatchObject([{ event, fields: { witness: "w1", origin: ORIGIN } }]);
    expect(askedOf(world, "w1")).toBeLessThan(8);
    expect(world.witnessed).toBeUndefined();
    const { logs } = world.statuses.at(-1)?.witnesses[0] ?? {};
    expect(logs?.cosigned).toBe(0);
    world.instead.clear();
    await world.pass(61 * EVERY_MS);
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
    expect(world.news).toHaveLength(1);
  });

  test("does not answer: told after a minute, and when it does again", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.instead.set("w1", () => Promise.reject(new Error("ECONNREFUSED")));
    world.grown(SMALL);
    await world.pass(SILENT_MS / 2);
    expect(world.news).toEqual([]);
    await world.pass(10 * SILENT_MS);
    expect(world.news).toMatchObject([
      { event: "outside_witness_silent", fields: { witness: "w1", detail: "ECONNREFUSED" } },
    ]);
    // Not once a second for ten minutes.
    expect(askedOf(world, "w1")).toBeLessThan(15);
    world.instead.clear();
    await world.pass(5 * EVERY_MS);
    expect(world.news.at(-1)?.event).toBe("outside_witness_answers");
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
  });

  test("answers with faults of its own to one log: asked about it less and less often", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.instead.set("w1", async () => ({ status: 500, body: "oops" }));
    world.grown(SMALL);
    await world.pass(10 * SILENT_MS);
    expect(askedOf(world, "w1")).toBeLessThan(15);
    expect(world.news).toMatchObject([
      { event: "outside_witness_silent", fields: { detail: "500 oops" } },
    ]);
    world.instead.clear();
    await world.pass(6 * EVERY_MS);
    expect(world.news.at(-1)?.event).toBe("outside_witness_answers");
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
  });

  test("sends to and fro: asked again later, and nobody is accused", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    let turn = 0;
    world.instead.set("w1", async () => ({ status: 409, body: `${1 + (turn++ % 2)}\n` }));
    world.grown(SMALL);
    await world.pass(1_000);
    expect(askedOf(world, "w1")).toBe(4);
    expect(world.news).toEqual([]);
    world.instead.clear();
    await world.pass(10_000);
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
  });

  test("cosigns what cannot be kept: told, and had again", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.grown(SMALL);
    const fails = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    world.disk.options = {
      onStep: (step) => {
        if (step === "write") throw fails;
      },
    };
    await world.pass(2_000);
    expect(world.news).toMatchObject([{ event: "outside_witness_fault" }]);
    world.disk.options = {};
    await world.pass(2 * EVERY_MS);
    expect(world.audited()).toMatchObject({ codes: [], size: 200 });
  });
});

describe("a log that a witness contradicts", () => {
  test("W3: with two roots of one size, both signed by the log: evidence of a fork", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    const before = new OutsideWorld(["w1"], ONE);
    before.grown(logOf(200, (seq) => Number(seq === 100)));
    await before.pass(1_000);
    const [question] = before.asked;
    await world.meshes[0]?.witness.addFromOutside(Buffer.from(question?.body ?? ""));
    world.grown(WHOLE);
    await world.pass(2_000);
    expect(world.news).toMatchObject([{ event: "outside_witness_disputes" }]);
    const [evidence] = world.evidence;
    expect(evidence).toMatchObject({ origin: ORIGIN, kind: "fork", witness: "w1" });
    for (const note of [evidence?.cosigned, evidence?.offered]) {
      expect(openCheckpoint(Buffer.from(note ?? ""), LOG.key, []).ok).toBe(true);
    }
    expect(world.witnessed).toBeUndefined();
    expect(world.statuses.at(-1)?.witnesses[0]?.logs.disputed ?? 0).toBe(0);
    await world.pass(5_000);
    expect(world.statuses.at(-1)?.witnesses[0]?.logs).toMatchObject({ disputed: 1, cosigned: 0 });
  });

  test("W3: by words alone is told, and is evidence of nothing but these words", async () => {
    const world = new OutsideWorld(["w1"], ONE);
    world.instead.set("w1", async ({ method }) => ({
      status: method === "POST" ? 422 : 200,
      body: "a checkpoint, believe me\n",
    }));
    world.grown(SMALL);
    await world.pass(1_000);
    expect(world.news).toMatchObject([{ event: "outside_witness_disputes" }]);
    expect(world.evidence).toMatchObject([
      { kind: "disputed", cosigned: "", offered: expect.stringContaining(ORIGIN) },
    ]);
  });

  const rolledBack = async (isOwn: boolean) => {
    const world = new OutsideWorld(["w1"], ONE, { isOwn });
    world.grown(WHOLE);
    await world.pass(1_000);
    const older = new OutsideWorld(["w1"], ONE, { isOwn });
    older.meshes[0]?.witness.addFromOutside(Buffer.from(world.asked[0]?.body ?? ""));
    older.grown(MIDDLE);
    await older.pass(2_000);
    return older;
  };

  test("of which it has seen more, nobody but this coordinator bringing it: told at once", async () => {
    const world = await rolledBack(true);
    expect(world.news).toMatchObject([
      { event: "outside_witness_ahead", fields: { detail: "has seen 1100" } },
    ]);
    expect(world.evidence).toMatchObject([{ kind: "rollback", cosigned: expect.any(String) }]);
  });

  test("of which others bring copies too: told when it stays so", async () => {
    const world = await rolledBack(false);
    expect(world.news).toEqual([]);
    await world.pass(AHEAD_MS_MAX + 10_000);
    expect(world.news).toMatchObject([{ event: "outside_witness_ahead" }]);
    expect(world.evidence).toEqual([]);
    world.grown(LATER);
    await world.pass(EVERY_MS);
    expect(world.audited()).toMatchObject({ codes: [], size: 1_400 });
  });

  test("put back with what was kept beside it: the witness says so", async () => {
    const world = new OutsideWorld(["w1"], ONE, { isOwn: true });
    world.grown(WHOLE);
    await world.pass(1_000);
    world.grown(MIDDLE);
    await world.pass(EVERY_MS);
    expect(world.audited().codes).toEqual(["rolled_back"]);
    expect(world.news).toMatchObject([{ event: "outside_witness_ahead" }]);
  });
});
