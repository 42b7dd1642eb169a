import { describe, expect, test } from "vitest";
import { checkpointText, cosignCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeLeaf, sealLeaf } from "../../../audit/leaf.ts";
import { emptyRoot } from "../../../audit/merkle.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { encodeRetired, RETIRED_PATH } from "../../../audit/retired-log.ts";
import { parseSignatureLine, signatureLine } from "../../../audit/signed-note.ts";
import { encodeBundle } from "../../../audit/tiles.ts";
import {
  FINDINGS_MAX,
  type Finding,
  type VerifyRequest,
  verifyLog,
} from "../../../audit/verify-log.ts";
import {
  buildLog,
  cosignTimeOf,
  entriesOf,
  IMPOSTOR,
  LOG,
  ORIGIN,
  recordsOf,
  type SampleLog,
  STRANGER,
  T0_MS,
  WITNESS,
} from "./sample-log.ts";
import { codes, entries, records, resign, SIZE, verify } from "./verify-sample.ts";

/** What is found in a good log after one change to its files. */
function found(change: (log: SampleLog) => void, more: Partial<VerifyRequest> = {}): Finding[] {
  const log = buildLog(entries);
  change(log);
  return [...verify(log, more).findings];
}

function flip(log: SampleLog, path: string, at: number): void {
  const bytes = Buffer.from(log.files.get(path) as Buffer);
  bytes[at] = (bytes[at] as number) ^ 1;
  log.files.set(path, bytes);
}

function cut(log: SampleLog, path: string, bytes: number): void {
  log.files.set(path, (log.files.get(path) as Buffer).subarray(0, bytes));
}

describe("a good log", () => {
  test("has no findings, and its decisions are counted", () => {
    const seen: number[] = [];
    const report = verify(buildLog(entries), { onProgress: ({ leaves }) => seen.push(leaves) });
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ leaves: SIZE, decisions: SIZE - 1, sawAllIds: true });
    expect(report.checkpoint?.size).toBe(SIZE);
    expect(seen).toEqual([256, 512, 600]);
  });

  test.each([1, 255, 256, 257, 512])("of %i entries has none either", (size) => {
    expect(verify(buildLog(entries.slice(0, size))).findings).toEqual([]);
  });

  test("that is empty has none either", () => {
    expect(verify(buildLog([], LOG, 1)).findings).toEqual([]);
  });

  test("may lack partial files where the full ones exist", () => {
    const log = buildLog(entries);
    const old = buildLog(entries.slice(0, 300));
    log.files.set("checkpoint", old.files.get("checkpoint") as Buffer);
    log.files.set("tile/1/000.p/1", old.files.get("tile/1/000.p/1") as Buffer);
    expect(verify(log).findings).toEqual([]);
  });

  test("agrees with the checkpoints that others kept", () => {
    const anchors = [0, 1, 256, 300, SIZE].map((size) => ({
      size,
      root: size === 0 ? emptyRoot() : buildLog(entries.slice(0, size)).edge.root(),
      timeSeconds: cosignTimeOf(size),
    }));
    expect(verify(buildLog(entries), { anchors }).findings).toEqual([]);
  });
});

describe("V2: damage to files", () => {
  test("case 1: one byte of an entry", () => {
    const findings = found((log) => flip(log, "tile/entries/001", 60));
    expect(codes(findings)).toContain("entry_altered");
    expect(findings.find(({ code }) => code === "entry_altered")?.index).toBe(256);
    expect(codes(findings)).toContain("root_differs");
    expect(codes(findings)).not.toContain("leaf_tile_altered");
  });

  test("case 2: one byte of a tile of level 0", () => {
    const findings = found((log) => flip(log, "tile/0/001", 3 * 32));
    expect(findings).toEqual([
      { code: "leaf_tile_altered", detail: "hash in the tile of level 0", index: 259 },
    ]);
    expect(codes(found((log) => flip(log, "tile/0/002.p/88", 0)))).toEqual(["leaf_tile_altered"]);
  });

  test("case 3: one byte of a tile above", () => {
    const findings = found((log) => flip(log, "tile/1/000.p/2", 40));
    expect(findings).toEqual([{ code: "upper_tile_altered", detail: "tile/1/000.p/2" }]);
  });

  test("cases 1 and 3 together are told apart", () => {
    const findings = found((log) => {
      flip(log, "tile/entries/001", 60);
      flip(log, "tile/1/000.p/2", 40);
    });
    expect(codes(findings)).toEqual(
      expect.arrayContaining(["entry_altered", "root_differs", "upper_tile_altered"]),
    );
  });

  test("case 3: a full upper tile, and an entry that comes after it", () => {
    const many = entriesOf(recordsOf(65_536 + 10));
    const log = buildLog(many);
    flip(log, "tile/1/000", 0);
    flip(log, "tile/entries/256.p/10", 60);
    const findings = verify(log).findings.filter(({ code }) => code !== "leaf_malformed");
    expect(codes(findings)).toEqual(["entry_altered", "root_differs", "upper_tile_altered"]);
    const upper = findings.find(({ code }) => code === "upper_tile_altered");
    expect(upper?.detail).toBe("tile/1/000");
  });

  test("case 4: two entries swapped", () => {
    const swapped = entries.slice(256, 512);
    [swapped[3], swapped[9]] = [entries[265] as Buffer, entries[259] as Buffer];
    const findings = found((log) => log.files.set("tile/entries/001", encodeBundle(swapped)));
    const at = (code: string) => findings.filter((f) => f.code === code).map(({ index }) => index);
    expect(at("seq_not_index")).toEqual([259, 265]);
    expect(at("entry_altered")).toEqual([259, 265]);
  });

  test("case 4: two bundles swapped", () => {
    const findings = found((log) => {
      const [a, b] = [log.files.get("tile/entries/000"), log.files.get("tile/entries/001")];
      log.files.set("tile/entries/000", b as Buffer).set("tile/entries/001", a as Buffer);
    });
    expect(codes(findings)).toContain("seq_not_index");
    expect(codes(findings)).toContain("genesis_missing");
  });

  test("case 6: the last bundle deleted", () => {
    const findings = found((log) => log.files.delete("tile/entries/002.p/88"));
    expect(codes(findings)).toEqual(["bundle_missing"]);
  });

  test("case 6: a bundle and its tile deleted", () => {
    const findings = found((log) => {
      log.files.delete("tile/entries/001");
      log.files.delete("tile/0/001");
    });
    expect(codes(findings)).toEqual(["bundle_missing", "tile_missing"]);
  });

  test("an upper tile deleted is told beside a root that nothing has", () => {
    const log = buildLog(entriesOf(records.with(7, { ...(records[7] as AuditRecord), t: 1 })));
    log.files.set("checkpoint", buildLog(entries).files.get("checkpoint") as Buffer);
    log.files.delete("tile/1/000.p/2");
    const told = codes(verify(log).findings);
    expect(told).toEqual(expect.arrayContaining(["root_differs", "tile_missing"]));
    expect(told).not.toContain("upper_tile_altered");
  });

  test("a log of whose witnesses nobody asks needs none", () => {
    const log = buildLog(entries);
    resign(log, [signCheckpoint(log.text, LOG)]);
    const reader = { read: (path: string) => log.files.get(path) };
    expect(verifyLog({ reader, logKey: LOG.key }).findings).toEqual([]);
  });

  test("an upper tile deleted", () => {
    const findings = found((log) => log.files.delete("tile/1/000.p/2"));
    expect(findings).toEqual([{ code: "tile_missing", detail: "tile/1/000.p/2" }]);
  });

  test("case 7: bytes behind the last entry of a bundle", () => {
    const findings = found((log) => {
      const bundle = log.files.get("tile/entries/001") as Buffer;
      log.files.set("tile/entries/001", Buffer.concat([bundle, Buffer.from([0, 0])]));
    });
    expect(codes(findings)).toEqual(["bundle_trailing_bytes"]);
  });

  test("case 7: a length in a bundle that leads past its end", () => {
    expect(codes(found((log) => flip(log, "tile/entries/002.p/88", 0)))).toContain(
      "bundle_truncated",
    );
    const short = found((log) => cut(log, "tile/entries/002.p/88", 500));
    expect(codes(short)).toEqual(["bundle_truncated"]);
  });

  test("case 18: a tile of another width than its name says", () => {
    const narrow = found((log) => cut(log, "tile/0/002.p/88", 87 * 32));
    expect(codes(narrow)).toEqual(["tile_width_wrong"]);
    const upper = found((log) => cut(log, "tile/1/000.p/2", 32));
    expect(upper).toEqual([{ code: "tile_width_wrong", detail: "tile/1/000.p/2" }]);
  });

  test("case 18: a stale partial tile where the full one must be", () => {
    const findings = found((log) => cut(log, "tile/0/001", 44 * 32));
    expect(findings).toEqual([{ code: "tile_width_wrong", detail: "tile/0/001: 1408 bytes" }]);
  });

  test("entry and tile changed alike leave the root", () => {
    const bent = [...entries];
    bent[300] = sealLeaf(encodeLeaf({ ...(records[300] as AuditRecord), t: T0_MS + 3_001 }), {
      ep: 3,
      seq: 300,
    });
    const findings = found((log) => {
      const other = buildLog(bent);
      for (const path of ["tile/entries/001", "tile/0/001"]) {
        log.files.set(path, other.files.get(path) as Buffer);
      }
    });
    expect(codes(findings)).toEqual(["root_differs"]);
  });
});

describe("V2: damage to the checkpoint", () => {
  const time = cosignTimeOf(SIZE);
  const edited = (from: string | RegExp, to: string) =>
    codes(
      found((log) => {
        const note = log.files.get("checkpoint")?.toString() as string;
        log.files.set("checkpoint", Buffer.from(note.replace(from, to)));
      }),
    );

  test("case 10: size or root edited", () => {
    expect(edited("\n600\n", "\n599\n")).toEqual(["log_signature_wrong"]);
    expect(edited(/\n[A-Za-z0-9+/]{43}=\n/, `\n${emptyRoot().toString("base64")}\n`)).toEqual([
      "log_signature_wrong",
    ]);
  });

  test("case 11: the cosignature removed, or by a stranger", () => {
    const log = (text: string) => signCheckpoint(text, LOG);
    expect(codes(found((it) => resign(it, [log(it.text)])))).toEqual(["quorum_not_met"]);
    const stranger = found((it) =>
      resign(it, [log(it.text), cosignCheckpoint(it.text, STRANGER, time)]),
    );
    expect(codes(stranger)).toEqual(["quorum_not_met"]);
  });

  test("case 11: the cosignature of another text, or with another time", () => {
    const replayed = found((it) => {
      const other = checkpointText({ origin: ORIGIN, size: 1, root: emptyRoot() });
      resign(it, [signCheckpoint(it.text, LOG), cosignCheckpoint(other, WITNESS, time)]);
    });
    expect(codes(replayed)).toEqual(["cosignature_wrong"]);
    const retimed = found((it) => {
      const line = cosignCheckpoint(it.text, WITNESS, time).trimEnd();
      const bytes = Buffer.from(parseSignatureLine(line)?.bytes as Uint8Array);
      bytes.writeBigUInt64BE(BigInt(time - 1));
      resign(it, [signCheckpoint(it.text, LOG), signatureLine(WITNESS.key, bytes)]);
    });
    expect(codes(retimed)).toEqual(["cosignature_wrong"]);
  });

  test("case 12: everything signed anew by another key of the log's name", () => {
    expect(codes([...verify(buildLog(entries, IMPOSTOR)).findings])).toEqual([
      "log_signature_missing",
    ]);
  });

  test("case 20: line ends, blank lines, leading zeros, base64, too many signatures", () => {
    expect(edited(/\n/g, "\r\n")).toEqual(["note_control_character"]);
    expect(edited("\n\n", "\n\n\n")).toEqual(["checkpoint_lines"]);
    expect(edited("\n600\n", "\n0600\n")).toEqual(["checkpoint_size"]);
    expect(edited(/=\n$/, "\n")).toEqual(["note_signature_malformed"]);
    expect(edited(/(— .*\n)$/, "$1".repeat(16))).toEqual(["note_too_many_signatures"]);
  });

  test("no checkpoint", () => {
    expect(codes(found((log) => log.files.delete("checkpoint")))).toEqual(["checkpoint_missing"]);
  });

  test("a root that an empty tree does not have", () => {
    const log = buildLog([], LOG, 1);
    const text = checkpointText({ origin: ORIGIN, size: 0, root: Buffer.alloc(32) });
    resign({ ...log, text }, [signCheckpoint(text, LOG), cosignCheckpoint(text, WITNESS, 1)]);
    expect(codes(verify(log).findings)).toEqual(["root_differs"]);
  });

  test("V3: a signed size that no file backs up ends the walk", () => {
    const size = 2 ** 50;
    const text = checkpointText({ origin: ORIGIN, size, root: emptyRoot() });
    const log = buildLog(entries);
    resign({ ...log, text }, [signCheckpoint(text, LOG), cosignCheckpoint(text, WITNESS, time)]);
    const { findings } = verify(log);
    expect(findings).toHaveLength(FINDINGS_MAX + 1);
    expect(findings.at(-1)?.code).toBe("stopped_at_findings_max");
  });
});

describe("a log whose first entries were removed", () => {
  const without = (...paths: string[]) => {
    const log = buildLog(entries);
    for (const path of paths) log.files.delete(path);
    return log;
  };

  test("verifies by their hashes, and says how many it did not see", () => {
    const report = verify(without("tile/entries/000"), { minimum: () => 256 });
    expect(report).toMatchObject({ findings: [], leaves: SIZE - 256, pruned: 256 });
  });

  test("verifies while more of them are removed", () => {
    const log = buildLog(entries);
    let minimum = 0;
    const onProgress = ({ leaves }: { readonly leaves: number }) => {
      if (leaves !== 256) return;
      minimum = 512;
      for (const path of ["tile/entries/000", "tile/entries/001"]) log.files.delete(path);
    };
    const report = verify(log, { minimum: () => minimum, onProgress });
    expect(report).toMatchObject({ findings: [], leaves: SIZE - 256, pruned: 256 });
  });

  test("lacks what lies beyond the word of its folder, and what no word covers", () => {
    const gone = without("tile/entries/000", "tile/entries/001");
    expect(codes(verify(gone, { minimum: () => 256 }).findings)).toEqual(["bundle_missing"]);
    expect(codes(verify(gone).findings)).toEqual(["bundle_missing"]);
  });

  test("is excused for what is gone alone: what is there is read, and damage to it told", () => {
    const whole = verify(buildLog(entries), { minimum: () => 512 });
    expect(whole).toMatchObject({ findings: [], leaves: SIZE, pruned: 0 });
    const damaged = buildLog(entries);
    flip(damaged, "tile/entries/000", 0);
    const { findings, pruned } = verify(damaged, { minimum: () => 512 });
    expect([codes(findings), pruned]).toEqual([["bundle_truncated"], 0]);
  });

  test("is no log whose records were all removed, where the word of that is of another root", () => {
    const log = buildLog(entries);
    const root = Buffer.alloc(32, 7).toString("hex");
    log.files.set(RETIRED_PATH, encodeRetired({ size: SIZE, root, isDone: true }));
    expect(verify(log)).toMatchObject({ findings: [], leaves: SIZE, isRetired: false });
  });

  test("cannot hide an altered hash", () => {
    const log = without("tile/entries/000");
    flip(log, "tile/0/000", 40);
    expect(codes(verify(log, { minimum: () => 256 }).findings)).toContain("root_differs");
  });
});
