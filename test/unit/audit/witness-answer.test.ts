import { describe, expect, test } from "vitest";
import { cosignCheckpoint } from "../../../audit/checkpoint.ts";
import { KEY_TYPES, NOTE_BYTES_MAX } from "../../../audit/signed-note.ts";
import { readWitnessAnswer, WITNESS_CLOCK_SKEW_S_MAX } from "../../../audit/witness-answer.ts";
import { buildLog, entriesOf, recordsOf, STRANGER, signerOf, WITNESS } from "./sample-log.ts";

const NOW_S = 1_790_000_100;
const { text } = buildLog(entriesOf(recordsOf(3)));
const other = buildLog(entriesOf(recordsOf(4))).text;
const line = cosignCheckpoint(text, WITNESS, NOW_S);

function heard(status: number, body: string | Uint8Array) {
  return readWitnessAnswer(
    { status, body: Buffer.from(body) },
    { key: WITNESS.key, text, nowMs: NOW_S * 1_000 },
  );
}

describe("a witness's answer", () => {
  test("200 with its own line is a cosignature", () => {
    expect(heard(200, line)).toEqual({ t: "cosigned", line, timeSeconds: NOW_S });
  });

  test("lines of other keys and other formats beside it are nobody's business", () => {
    const mlDsa = `— ${WITNESS.key.name} ${Buffer.alloc(2_432, 6).toString("base64")}\n`;
    const beside = `${cosignCheckpoint(text, STRANGER, NOW_S)}${mlDsa}${line}words\n`;
    expect(heard(200, beside)).toMatchObject({ t: "cosigned", line });
  });

  test.each([
    ["nothing", ""],
    ["words", "thank you\n"],
    ["a stranger's line", cosignCheckpoint(text, STRANGER, NOW_S)],
    ["a line over another checkpoint", cosignCheckpoint(other, WITNESS, NOW_S)],
    ["a line with one bit changed", line.replace(/.{4}\n$/, "AAA=\n")],
    ["a right line and a wrong one", line + cosignCheckpoint(other, WITNESS, NOW_S)],
    [
      "its key under another name",
      cosignCheckpoint(text, signerOf("other.example", KEY_TYPES.cosignature, 2), NOW_S),
    ],
    ["a line from long ago", cosignCheckpoint(text, WITNESS, NOW_S - WITNESS_CLOCK_SKEW_S_MAX - 1)],
    [
      "a line of a time to come",
      cosignCheckpoint(text, WITNESS, NOW_S + WITNESS_CLOCK_SKEW_S_MAX + 1),
    ],
    ["bytes that are no text", Buffer.alloc(NOTE_BYTES_MAX, 0xff)],
  ])("200 with %s is none", (_name, body) => {
    expect(heard(200, body)).toMatchObject({ t: "refused" });
  });

  test("409 names the size that it has seen, and nothing else is one", () => {
    expect(heard(409, "300\n")).toEqual({ t: "elsewhere", size: 300 });
    expect(heard(409, "0\n")).toEqual({ t: "elsewhere", size: 0 });
    for (const body of ["", "0300\n", "-1\n", "3e2\n", "300\n\n", "9007199254740993\n", "size\n"]) {
      expect(heard(409, body)).toMatchObject({ t: "refused" });
    }
  });

  test.each([
    [404, "unknown"],
    [422, "inconsistent"],
    [400, "refused"],
    [403, "refused"],
    [301, "refused"],
    [204, "refused"],
    [429, "unanswered"],
    [500, "unanswered"],
    [503, "unanswered"],
  ])("%i is %s", (status, t) => {
    expect(heard(status, "why\n")).toMatchObject({ t });
  });

  test("what it says is shown short, and cannot draw on a terminal", () => {
    const said = heard(403, `no\u001b[2J\n${"x".repeat(1_000)}`);
    expect(said.t === "refused" && said.detail).toMatch(/^403 no \[2J x{10,120}$/);
  });
});
