import { describe, expect, test } from "vitest";
import { checkpointText, signCheckpoint } from "../../../audit/checkpoint.ts";
import { consistencyProof, emptyRoot } from "../../../audit/merkle.ts";
import { encodeNote } from "../../../audit/signed-note.ts";
import { readTile, subtreesFromTiles } from "../../../audit/tiles.ts";
import {
  type AddCheckpoint,
  encodeAddCheckpoint,
  judgeCheckpoint,
  originOf,
  parseAddCheckpoint,
  type Witnessed,
} from "../../../audit/witness.ts";
import { buildLog, entriesOf, IMPOSTOR, LOG, ORIGIN, recordsOf } from "./sample-log.ts";

const SIZE = 600;
const log = buildLog(entriesOf(recordsOf(SIZE)));
const subtree = subtreesFromTiles(SIZE, (tile) =>
  readTile({ read: (path) => log.files.get(path) }, tile),
);

function checkpointAt(size: number, signer = LOG): string {
  const { text } = buildLog(entriesOf(recordsOf(size)));
  return encodeNote(text, [signCheckpoint(text, signer)]);
}

function seenAt(size: number): Witnessed {
  const { edge } = buildLog(entriesOf(recordsOf(size)));
  return { size, root: edge.root(), checkpoint: checkpointAt(size) };
}

function from(oldSize: number, size = SIZE): AddCheckpoint {
  const at =
    size === SIZE
      ? subtree
      : subtreesFromTiles(size, (tile) => readTile({ read: (path) => log.files.get(path) }, tile));
  return { oldSize, proof: consistencyProof(oldSize, size, at), checkpoint: checkpointAt(size) };
}

/** The same records but the last one: a log that took another way from there. */
function forked(size: number): string {
  const records = recordsOf(size);
  const last = records[size - 1] as (typeof records)[0];
  const { text } = buildLog(entriesOf(records.with(size - 1, { ...last, t: last.t + 1 })));
  return encodeNote(text, [signCheckpoint(text, LOG)]);
}

const keys = [LOG.key];

describe("a witness", () => {
  test("N1: cosigns the first checkpoint it sees, and each that goes on from its last", () => {
    const first = judgeCheckpoint({ ...from(0, 100) }, keys, undefined);
    expect(first).toMatchObject({ status: 200, next: { size: 100 } });
    for (const size of [1, 255, 256, 257, 599, 600]) {
      const answer = judgeCheckpoint(from(size), keys, seenAt(size));
      expect(answer).toMatchObject({ status: 200, text: log.text, next: { size: SIZE } });
    }
  });

  test.each<[string, AddCheckpoint, readonly (typeof LOG.key)[], Witnessed | undefined, object]>([
    ["of a log that it does not know", from(0), [], undefined, { status: 404 }],
    ["that another key signed", from(0), [IMPOSTOR.key], undefined, { status: 403 }],
    [
      "that is shorter than its own old size",
      { ...from(0, 100), oldSize: 200 },
      keys,
      seenAt(200),
      { status: 400 },
    ],
    ["from a size that it is past", from(100), keys, seenAt(300), { status: 409, size: 300 }],
    ["from a size that it never saw", from(300), keys, undefined, { status: 409, size: 0 }],
    [
      "with a proof from nothing",
      { ...from(0), proof: from(300).proof },
      keys,
      undefined,
      { status: 422 },
    ],
    [
      "with a proof that does not lead there",
      { ...from(300), proof: from(299).proof },
      keys,
      seenAt(300),
      { status: 422, evidence: { kind: "inconsistent" } },
    ],
  ])("does not cosign a checkpoint %s", (_name, request, known, seen, expected) => {
    expect(judgeCheckpoint(request, known, seen)).toMatchObject(expected);
  });

  test("knows the root of a log without leaves", () => {
    const empty = (root: Uint8Array) => {
      const text = checkpointText({ origin: ORIGIN, size: 0, root });
      return { oldSize: 0, proof: [], checkpoint: encodeNote(text, [signCheckpoint(text, LOG)]) };
    };
    expect(judgeCheckpoint(empty(emptyRoot()), keys, undefined)).toMatchObject({ status: 200 });
    expect(judgeCheckpoint(empty(Buffer.alloc(32, 1)), keys, undefined)).toEqual({
      status: 422,
      detail: "no tree without leaves has this root",
    });
  });

  test("N3: takes nobody for a fork who is asked from a wrong size, behind it or where it is", () => {
    const seen = seenAt(300);
    for (const [oldSize, size] of [
      [100, 300],
      [100, 400],
      [200, 200],
    ] as const) {
      const request = { oldSize, proof: [], checkpoint: checkpointAt(size) };
      expect(judgeCheckpoint(request, keys, seen)).toEqual({ status: 409, size: 300 });
    }
  });

  test("N3: keeps both of two checkpoints of one size, whichever old size is named", () => {
    const offered = forked(300);
    for (const [oldSize, status] of [
      [300, { status: 422 }],
      [0, { status: 409, size: 300 }],
    ] as const) {
      const answer = judgeCheckpoint(
        { oldSize, proof: [], checkpoint: offered },
        keys,
        seenAt(300),
      );
      expect(answer).toMatchObject({
        ...status,
        evidence: { kind: "fork", offered, cosigned: checkpointAt(300) },
      });
    }
  });
});

describe("a request", () => {
  test("is the specification's text, and is read back", () => {
    const text = encodeAddCheckpoint(from(300));
    expect(text.split("\n").slice(0, 1)).toEqual(["old 300"]);
    const back = parseAddCheckpoint(Buffer.from(text));
    expect(back.ok && encodeAddCheckpoint(back.value)).toBe(text);
    expect(back.ok && originOf(back.value)).toBe(ORIGIN);
  });

  test.each([
    ["no old size", "size 3\n\nx"],
    ["a leading zero", "old 03\n\nx"],
    ["no blank line", "old 3\n"],
    ["a line that is no hash", "old 3\nAAAA\n\nx"],
    ["too many hashes", `old 3\n${`${Buffer.alloc(32).toString("base64")}\n`.repeat(64)}\nx`],
  ])("with %s is refused", (_name, text) => {
    expect(parseAddCheckpoint(Buffer.from(text)).ok).toBe(false);
  });
});
