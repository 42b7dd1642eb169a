import { expect, test } from "vitest";
import { type Profile, sharesOf } from "../../../bench/harness/profile-parts.ts";
import { partsNote } from "../../../bench/harness/profile-report.ts";

const OWN = new URL("../../../node/decision/decide.ts", import.meta.url).href;

/** A profile of one sample for each frame, each so many microseconds long. */
function profileOf(...frames: readonly (readonly [string, string, number])[]): Profile {
  return {
    nodes: frames.map(([functionName, url], at) => ({
      id: at + 1,
      callFrame: { functionName, url, lineNumber: 1 },
    })),
    samples: frames.map((_, at) => at + 1),
    timeDeltas: frames.map(([, , micros]) => micros),
  };
}

test("what waits is no work, however long it was seen", () => {
  const profile = profileOf(
    ["(idle)", "", 70_000],
    ["fdatasync", "", 9_000],
    ["holdThread", OWN, 9_000],
    ["decide", OWN, 300],
    ["writeBuffer", "", 100],
  );
  expect([...sharesOf(profile)]).toEqual([
    ["node/decision", 0.75],
    ["writeBuffer", 0.25],
  ]);
});

test("parts are of what the kernel counted, and what is too little to name is told together", () => {
  const shares = new Map([
    ["node/decision", 0.6],
    ["writeBuffer", 0.38],
    ["node:path", 0.02],
  ]);
  expect(partsNote("loop0", 20, shares)).toBe(
    "loop0, of 20.0 us per request: node/decision 12.0, writeBuffer 7.6, all else 0.4.",
  );
});

test("a thread that did nothing, or was not seen, has no parts", () => {
  expect(partsNote("mesh", 0, new Map([["mesh", 1]]))).toBe("mesh: next to nothing.");
  expect(partsNote("mesh", 2, new Map())).toBe("mesh: next to nothing.");
});
