import { describe, expect, test } from "vitest";
import { cosignCheckpoint, encodeCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import type { LogPolicy } from "../../../audit/log-policy.ts";
import { KEY_TYPES } from "../../../audit/signed-note.ts";
import { ANCHOR_LIMITS } from "../../../audit/verify-log.ts";
import { WITNESSED_PATH } from "../../../audit/witnessed.ts";
import { buildLog, cosignTimeOf, LOG, POLICY, signerOf, WITNESS } from "./sample-log.ts";
import { codes, entries, SIZE, verify } from "./verify-sample.ts";

const OUTSIDE = signerOf("witness.example/w1", KEY_TYPES.cosignature, 5);
const BOTH: LogPolicy = {
  ...POLICY,
  witnesses: [WITNESS.key, OUTSIDE.key],
  quorum: { k: 2, members: [{ witness: WITNESS.key }, { witness: OUTSIDE.key }] },
};

/** The checkpoint that the log had at a size, with both cosignatures. */
function witnessedAt(size: number, timeSeconds = cosignTimeOf(size), of = entries): Buffer {
  const { text } = buildLog(of.slice(0, size));
  const lines = [
    signCheckpoint(text, LOG),
    cosignCheckpoint(text, WITNESS, timeSeconds),
    cosignCheckpoint(text, OUTSIDE, timeSeconds),
  ];
  return Buffer.from(encodeCheckpoint(text, lines));
}

function found(witnessed: Buffer | undefined, policy: LogPolicy = BOTH) {
  const log = buildLog(entries);
  if (witnessed !== undefined) log.files.set(WITNESSED_PATH, witnessed);
  const { findings, quorum } = verify(log, { policy });
  return { codes: codes(findings), size: quorum?.size };
}

describe("a log that outside witnesses are behind of", () => {
  test("has its quorum at the size up to which they have cosigned", () => {
    expect(found(witnessedAt(500))).toEqual({ codes: [], size: 500 });
    expect(found(witnessedAt(SIZE))).toEqual({ codes: [], size: SIZE });
  });

  test("has none where nothing was witnessed, or too few have", () => {
    expect(found(undefined)).toEqual({ codes: ["quorum_not_met"], size: undefined });
    const { text } = buildLog(entries.slice(0, 500));
    const one = [signCheckpoint(text, LOG), cosignCheckpoint(text, WITNESS, cosignTimeOf(500))];
    const few = Buffer.from(encodeCheckpoint(text, one));
    expect(found(few)).toEqual({ codes: ["quorum_not_met"], size: undefined });
  });

  test("without a policy that asks for them is as it was, and still held to what was witnessed", () => {
    expect(found(witnessedAt(500), POLICY)).toEqual({ codes: [], size: SIZE });
    const other = entries.with(9, entries[10] as Buffer);
    const fork = witnessedAt(500, cosignTimeOf(500), other);
    expect(found(fork, POLICY).codes).toEqual(["anchor_root_differs"]);
  });

  test("is found out when it was cut off behind what was witnessed", () => {
    const log = buildLog(entries.slice(0, 400));
    log.files.set(WITNESSED_PATH, witnessedAt(500));
    expect(codes(verify(log, { policy: BOTH }).findings)).toEqual(["rolled_back"]);
  });

  test("is found behind once records are much younger than the witnesses' word", () => {
    const limits = { ...ANCHOR_LIMITS, skewMsMax: 3_600_000, quorumDelayMsMax: 500 };
    const log = buildLog(entries);
    log.files.set(WITNESSED_PATH, witnessedAt(500, cosignTimeOf(500) - 1));
    expect(verify(log, { policy: BOTH }).findings).toEqual([]);
    const { findings } = verify(log, { policy: BOTH, anchorLimits: limits });
    expect(findings).toMatchObject([{ code: "quorum_behind", index: 551 }]);
  });

  test("may have waited for them: records between are not back-dated by that", () => {
    const late = cosignTimeOf(500) + 3_600;
    expect(found(witnessedAt(500, late)).codes).toEqual([]);
    // Of what they have seen itself they say when it was there.
    expect(found(witnessedAt(500, cosignTimeOf(1) - 60)).codes).toEqual(["time_after_anchor"]);
  });

  test("with a cosignature moved there from another text is refused", () => {
    const { text } = buildLog(entries.slice(0, 500));
    const moved = cosignCheckpoint(buildLog(entries).text, OUTSIDE, cosignTimeOf(SIZE));
    const note = Buffer.from(encodeCheckpoint(text, [signCheckpoint(text, LOG), moved]));
    expect(found(note).codes).toEqual(["cosignature_wrong"]);
  });
});
