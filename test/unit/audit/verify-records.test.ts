import { describe, expect, test } from "vitest";
import { checkpointText, cosignCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeLeaf, sealLeaf } from "../../../audit/leaf.ts";
import { leafHash, nodeHash } from "../../../audit/merkle.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { buildLog, entriesOf, LOG, ORIGIN, ridOf, T0_MS, WITNESS } from "./sample-log.ts";
import { codes, entries, records, relogged, resign, SIZE, verify } from "./verify-sample.ts";

describe("V2: records signed by the log that contradict each other", () => {
  const deny = (index: number) => records[index] as AuditRecord & { k: "decision" };

  test("case 4: two records in each other's place", () => {
    const swapped = [...entries];
    [swapped[300], swapped[301]] = [entries[301] as Buffer, entries[300] as Buffer];
    expect(codes(verify(buildLog(swapped)).findings)).toEqual(["seq_not_index"]);
  });

  test("case 5: a record taken out, and the rest signed anew as it is", () => {
    const rest = entries.toSpliced(300, 1);
    expect(codes(verify(buildLog(rest)).findings)).toEqual(["seq_not_index"]);
  });

  test("case 5: a record taken out and the rest renumbered, seen by who kept a checkpoint", () => {
    const log = buildLog(entriesOf(records.toSpliced(300, 1)));
    expect(verify(log).findings).toEqual([]);
    const anchors = [{ size: 400, root: buildLog(entries.slice(0, 400)).edge.root() }];
    expect(codes(verify(log, { anchors }).findings)).toEqual(["anchor_root_differs"]);
  });

  test("case 8: rolled back to an older checkpoint, seen by who kept a later one", () => {
    const anchors = [{ size: SIZE, root: buildLog(entries).edge.root() }];
    const older = buildLog(entries.slice(0, 500));
    expect(verify(older).findings).toEqual([]);
    expect(codes(verify(older, { anchors }).findings)).toEqual(["rolled_back"]);
  });

  test("an empty log that never was, as somebody claims to have kept it", () => {
    const anchors = [{ size: 0, root: Buffer.alloc(32) }];
    expect(codes(verify(buildLog(entries), { anchors }).findings)).toEqual(["anchor_root_differs"]);
  });

  test("case 9: forked, seen by who kept the other checkpoint of that size", () => {
    const fork = entriesOf(records.with(599, { ...deny(599), tb: 43 }));
    const anchors = [{ size: SIZE, root: buildLog(entries).edge.root() }];
    expect(codes(verify(buildLog(fork), { anchors }).findings)).toEqual(["anchor_root_differs"]);
  });

  test("case 14: a record dated back", () => {
    const bend = (t: number) => relogged((all) => all.with(400, { ...deny(400), t }));
    expect(bend(T0_MS + 2_000).map(({ code, index }) => [code, index])).toEqual([
      ["time_went_back", 400],
    ]);
    // Writers' batches may overlap by a second.
    expect(bend(T0_MS + 3_000)).toEqual([]);
    expect(codes(bend(T0_MS + 2_989))).toEqual(["time_went_back"]);
  });

  test("case 14: all records dated back, or ahead, seen by when a witness signed", () => {
    const root = buildLog(entries.slice(0, 300)).edge.root();
    const at = (timeSeconds: number) =>
      verify(buildLog(entries), { anchors: [{ size: 300, root, timeSeconds }] }).findings;
    const seconds = T0_MS / 1_000;
    expect(at(seconds + 3)).toEqual([]);
    // Even without any tolerance, a witness that signs as the 300th is written fits all records.
    const anchorLimits = { skewMsMax: 0, cosignDelayMsMax: 0, quorumDelayMsMax: 0 };
    const anchors = [{ size: 300, root, timeSeconds: seconds + 3 }];
    expect(verify(buildLog(entries), { anchors, anchorLimits }).findings).toEqual([]);
    expect(codes(at(seconds + 120))).toEqual(["time_before_anchor"]);
    expect(at(seconds + 120).map(({ index }) => index)).toEqual(
      Array.from({ length: 300 }, (_, i) => 300 + i),
    );
    expect(codes(at(seconds - 4))).toEqual(["time_after_anchor"]);
  });

  test("a step of the clock is on record, and then is no finding", () => {
    const back = 3_600_000;
    const step: AuditRecord = { v: 1, k: "clock", t: T0_MS - back, node: "node-7", step_ms: -back };
    const stepped = relogged((all) => [
      ...all.slice(0, 300),
      step,
      // Another writer's record with the old time, merged behind the step.
      { ...deny(300), t: T0_MS + 3_000 },
      ...all.slice(301).map((record) => ({ ...record, t: record.t - back })),
    ]);
    expect(stepped).toEqual([]);
    const silent = relogged((all) => all.map((r, i) => (i < 300 ? r : { ...r, t: r.t - back })));
    expect(codes(silent)).toEqual(["time_went_back"]);
  });

  test("case 14: a step of the clock that leads further back than it says", () => {
    const hourMs = 3_600_000;
    const bent = (t: number, stepMs: number) =>
      relogged((all) => [
        ...all.slice(0, 300),
        { v: 1, k: "clock", t, node: "node-7", step_ms: stepMs },
        ...all.slice(301).map((record) => ({ ...record, t })),
      ]);
    const latestMs = T0_MS + 2_990;
    const codesAt = (t: number, stepMs: number) =>
      bent(t, stepMs).map(({ code, index }) => [code, index]);
    expect(codesAt(latestMs - hourMs, 5)).toEqual([["time_went_back", 300]]);
    expect(codesAt(latestMs - 2 * hourMs, -hourMs)).toEqual([["time_went_back", 300]]);
    expect(codesAt(latestMs - hourMs - 60_000, -hourMs)).toEqual([]);
    expect(codesAt(latestMs - hourMs - 60_001, -hourMs)).toEqual([["time_went_back", 300]]);
    expect(codesAt(latestMs + hourMs, hourMs)).toEqual([]);
  });

  test("a request that was settled and whose decision was taken out", () => {
    const idAt = (ms: number) => {
      const hex = ms.toString(16).padStart(12, "0");
      return `${hex.slice(0, 8)}-${hex.slice(8)}-7b2c-9d3e-000000000001`;
    };
    const settled = { usd_u: 0, tok: 0, calls: 0, over_u: 0 };
    const settle = (rid: string, t: number): AuditRecord => ({
      ...({ v: 1, k: "settle", node: "node-7", ph: "response", rc: "ok" } as const),
      ...{ rid, t, settled },
    });
    const t = T0_MS + 30_000;
    const rid = idAt(t - 1_000);
    const late = (all: AuditRecord[]) => all.slice(0, 300);
    const decided = { ...deny(1), rid, t: t - 1_000 };
    expect(relogged((all) => [...late(all), decided, settle(rid, t)])).toEqual([]);
    const undecided = [{ code: "settle_undecided", detail: rid, index: 300 }];
    expect(relogged((all) => [...late(all), settle(rid, t)])).toEqual(undecided);
    // It was decided in the log before, or may have been among what is known to be lost.
    const before = idAt(T0_MS + 9_000);
    expect(relogged((all) => [...late(all), settle(before, t)])).toEqual([]);
    const ahead = idAt(t + 3_600_000);
    expect(relogged((all) => [...late(all), settle(ahead, t)])).toEqual([]);
    const gap: AuditRecord = {
      ...({ v: 1, k: "gap", node: "node-7", rc: "wal_damaged", exact: false, n: 1 } as const),
      ...{ t: T0_MS + 2_990, t0: T0_MS, t1: T0_MS },
    };
    expect(relogged((all) => [...late(all), gap, settle(rid, t)])).toEqual([]);
    // What is left in WALs begins anywhere.
    const disowning = (all: AuditRecord[]) => [
      { ...all[0], rc: "disowned" } as AuditRecord,
      ...late(all).slice(1),
    ];
    expect(relogged((all) => [...disowning(all), settle(rid, t)])).toEqual([]);
  });

  test("case 15: a request id twice", () => {
    const findings = relogged((all) => all.with(400, { ...deny(400), rid: ridOf(7) }));
    expect(findings).toEqual([{ code: "rid_duplicate", detail: ridOf(7), index: 400 }]);
  });

  test("case 15: a replay of what was forgotten is unseen, and the report says so", () => {
    const log = buildLog(entriesOf(records.with(400, { ...deny(400), rid: ridOf(7) })));
    const lintLimits = { backstepMsMax: 1_000, requestIdsMax: 100 };
    expect(verify(log, { lintLimits })).toMatchObject({ findings: [], sawAllIds: false });
    // What is in the older half of what is remembered is seen yet.
    const findings = [{ code: "rid_duplicate", index: 400 }];
    const more = { ...lintLimits, requestIdsMax: 600 };
    expect(verify(log, { lintLimits: more })).toMatchObject({ findings, sawAllIds: true });
  });

  test("a response's record shares the id of its request; a second settlement does not", () => {
    const cutOff: AuditRecord = { ...deny(400), rid: ridOf(399), ph: "response" };
    const settled = { usd_u: 0, tok: 0, calls: 0, over_u: 0 };
    const settle = (index: number): AuditRecord => ({
      v: 1,
      k: "settle",
      t: T0_MS + index * 10,
      node: "node-7",
      rid: ridOf(399),
      ph: "response",
      rc: "ok",
      settled,
    });
    expect(relogged((all) => all.with(400, cutOff).with(401, settle(401)))).toEqual([]);
    const twice = relogged((all) => all.with(401, settle(401)).with(402, settle(402)));
    expect(twice).toEqual([{ code: "settle_duplicate", detail: ridOf(399), index: 402 }]);
  });

  test("case 21: a log of half the size whose entries are the nodes of the other", () => {
    const nodes = [0, 2].map((i) =>
      Buffer.concat([leafHash(entries[i] as Buffer), leafHash(entries[i + 1] as Buffer)]),
    );
    const whole = buildLog(entries.slice(0, 4));
    const text = checkpointText({ origin: ORIGIN, size: 2, root: whole.edge.root() });
    const forged = buildLog(nodes);
    resign({ ...forged, text }, [signCheckpoint(text, LOG), cosignCheckpoint(text, WITNESS, 1)]);
    expect(codes(verify(forged).findings)).toEqual(["leaf_malformed", "root_differs"]);
    // The forger's hope: node hashes of the leaves are the entries' hashes.
    const [a, b] = nodes as [Buffer, Buffer];
    const hoped = (node: Buffer) => nodeHash(node.subarray(0, 32), node.subarray(32));
    expect(nodeHash(hoped(a), hoped(b))).toEqual(whole.edge.root());
  });

  test.each<[string, (all: AuditRecord[]) => AuditRecord[], string[]]>([
    ["no genesis", (all) => all.with(0, { ...deny(1), rid: ridOf(999) }), ["genesis_missing"]],
    [
      "a second genesis",
      (all) => all.with(9, { ...(all[0] as AuditRecord), t: T0_MS + 90 }),
      ["genesis_again"],
    ],
    [
      "another log's genesis",
      (all) => all.with(0, { ...all[0], origin: "other.example/e1" } as AuditRecord),
      ["genesis_origin"],
    ],
    [
      "another node's record",
      (all) => all.with(9, { ...deny(9), node: "node-8" }),
      ["node_changed"],
    ],
    [
      "a record behind the close",
      (all) =>
        all.with(598, { v: 1, k: "close", t: T0_MS + 5_980, node: "node-7", rc: "epoch_full" }),
      ["leaf_after_close"],
    ],
  ])("%s", (_name, bend, expected) => {
    expect(codes(relogged(bend))).toEqual(expected);
  });

  test("a record of another epoch, without a place, or not canonical", () => {
    const at9 = (entry: Buffer) => codes(verify(buildLog(entries.with(9, entry))).findings);
    expect(at9(sealLeaf(encodeLeaf(deny(9)), { ep: 4, seq: 9 }))).toEqual(["epoch_changed"]);
    expect(at9(encodeLeaf(deny(9)))).toEqual(["leaf_unsealed"]);
    expect(at9(Buffer.from(`${entries[9]} `))).toEqual(["leaf_malformed"]);
  });
});
