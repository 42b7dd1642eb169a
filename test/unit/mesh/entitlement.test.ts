import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DeadMan,
  DRIFT_PPM,
  EXCHANGE_EVERY_MS,
  NOT_ENTITLED,
  REPLICAS_MAX,
} from "../../../mesh/entitlement.ts";
import { BeatSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { proofCount } from "../../support/proof.ts";

const T_MS = 12_000;
const OWN = Buffer.alloc(32, 7);
const OTHER = Buffer.alloc(32, 8);
const ns = (ms: number): bigint => BigInt(Math.round(ms * 1e6));
const { count: RUNS, seed } = proofCount("entitlement", { small: 300, full: 20_000 });

/** The replica's clock reads this much less than ours. */
const OFFSET_MS = 5_000_000;
/** Our clock when both sides begin. */
const START_MS = 6_000_000;

type BeatFields = {
  readonly n: number;
  /** Our clock at the moment of issue. */
  readonly issuedMs: number;
  readonly from?: string;
  readonly bootId?: string;
  readonly epoch?: number;
  readonly quorumAgeMs?: number;
  readonly stateHash?: Uint8Array;
};

function beat(fields: BeatFields) {
  return create(BeatSchema, {
    from: fields.from ?? "c1",
    bootId: fields.bootId ?? "boot-1",
    epoch: BigInt(fields.epoch ?? 1),
    n: BigInt(fields.n),
    monoMs: BigInt(Math.floor(fields.issuedMs - OFFSET_MS)),
    stateHash: fields.stateHash ?? OWN,
    quorumAgeMs: BigInt(fields.quorumAgeMs ?? 0),
  });
}

function compareClocks(deadMan: DeadMan, replica = "c1", bootId = "boot-1", atMs = START_MS): void {
  const monoMs = BigInt(atMs - OFFSET_MS);
  deadMan.noteExchange({ replica, bootId, sentNs: ns(atMs), monoMs });
}

function ready(): DeadMan {
  const deadMan = new DeadMan({ deadManMs: T_MS });
  compareClocks(deadMan);
  return deadMan;
}

const judge = (deadMan: DeadMan, fields: BeatFields, receivedMs: number, ownStateHash = OWN) =>
  deadMan.judge(beat(fields), { receivedNs: ns(receivedMs), ownStateHash });

/** What the comparison's rounding and drift may add to an age, at most. */
const slackMs = (elapsedMs: number): number => 2 + (elapsedMs * Number(DRIFT_PPM)) / 1e6;

describe("a digest entitles", () => {
  test("when all holds, until T after it was issued", () => {
    const deadMan = ready();
    expect(deadMan.isOpen(ns(START_MS))).toBe(false);
    expect(deadMan.digestAgeMs(ns(START_MS))).toBeUndefined();
    const judged = judge(deadMan, { n: 1, issuedMs: START_MS + 1_000 }, START_MS + 1_050);
    expect(judged.entitles).toBe(true);
    const untilMs = Number(deadMan.openUntilNs) / 1e6;
    expect(untilMs).toBeLessThanOrEqual(START_MS + 1_000 + T_MS);
    expect(untilMs).toBeGreaterThan(START_MS + 1_000 + T_MS - slackMs(1_050));
    expect(deadMan.isOpen(deadMan.openUntilNs - 1n)).toBe(true);
    expect(deadMan.isOpen(deadMan.openUntilNs)).toBe(false);
    expect(deadMan.digestAgeMs(ns(START_MS + 1_050))).toBeGreaterThanOrEqual(50);
  });

  const at = START_MS + 1_000;
  const refusals: {
    readonly [K in (typeof NOT_ENTITLED)[number]]: (deadMan: DeadMan) => unknown;
  } = {
    digest_malformed: (d) => judge(d, { n: 1, issuedMs: at, stateHash: OWN.subarray(1) }, at),
    digest_replayed: (d) => {
      judge(d, { n: 5, issuedMs: at }, at);
      return judge(d, { n: 5, issuedMs: at + 1 }, at + 1);
    },
    clock_unknown: (d) => judge(d, { n: 1, issuedMs: at, bootId: "boot-2" }, at),
    clock_inconsistent: (d) => judge(d, { n: 1, issuedMs: at + 500 }, at),
    digest_old: (d) => judge(d, { n: 1, issuedMs: at }, at + T_MS / 2 + 1),
    quorum_lost: (d) => judge(d, { n: 1, issuedMs: at, quorumAgeMs: T_MS + 1 }, at),
    state_differs: (d) => judge(d, { n: 1, issuedMs: at, stateHash: OTHER }, at),
  };
  test.each(NOT_ENTITLED)("not: %s", (because) => {
    const deadMan = ready();
    const first = deadMan.openUntilNs;
    expect(refusals[because](deadMan)).toEqual({ entitles: false, because });
    if (because !== "digest_replayed") expect(deadMan.openUntilNs).toBe(first);
  });

  test("up to an age of T/2 and a quorum age of T, less what comparison and drift add", () => {
    const slack = slackMs(1_000 + T_MS);
    const limit = { n: 1, issuedMs: at, quorumAgeMs: T_MS };
    expect(judge(ready(), limit, at + T_MS / 2 - slack).entitles).toBe(true);
  });
});

describe("E1: the way forward only", () => {
  test("a digest that opens less far than another leaves the node open as far", () => {
    const deadMan = ready();
    compareClocks(deadMan, "c2");
    judge(deadMan, { n: 1, issuedMs: START_MS + 2_000 }, START_MS + 2_000);
    const before = deadMan.openUntilNs;
    const judged = judge(
      deadMan,
      { from: "c2", n: 1, issuedMs: START_MS + 1_000 },
      START_MS + 2_100,
    );
    expect(judged.entitles).toBe(true);
    expect(deadMan.openUntilNs).toBe(before);
  });

  test("a digest that does not entitle leaves the node open as far as it was", () => {
    const deadMan = ready();
    judge(deadMan, { n: 1, issuedMs: START_MS + 1_000 }, START_MS + 1_000);
    const before = deadMan.openUntilNs;
    judge(deadMan, { n: 2, issuedMs: START_MS + 2_000, stateHash: OTHER }, START_MS + 2_000);
    expect(deadMan.openUntilNs).toBe(before);
  });
});

describe("E2: a digest that is held back opens no longer", () => {
  test("a delay shortens what is left by as much", () => {
    const open = (delayMs: number): number => {
      const deadMan = ready();
      judge(deadMan, { n: 1, issuedMs: START_MS + 1_000 }, START_MS + 1_000 + delayMs);
      return Number(deadMan.openUntilNs) / 1e6;
    };
    expect(open(5_000)).toBeLessThanOrEqual(open(0));
  });

  test("an older (epoch, n) is refused, and a newer epoch starts n anew", () => {
    const deadMan = ready();
    const because = (epoch: number, n: number, ms: number) => {
      const judged = judge(deadMan, { epoch, n, issuedMs: START_MS + ms }, START_MS + ms);
      return judged.entitles ? "entitles" : judged.because;
    };
    expect(because(2, 10, 1_000)).toBe("entitles");
    expect(because(2, 9, 2_000)).toBe("digest_replayed");
    expect(because(1, 99, 3_000)).toBe("digest_replayed");
    expect(because(3, 1, 4_000)).toBe("entitles");
    expect(because(2, 11, 5_000)).toBe("digest_replayed");
  });

  test("replicas are counted apart", () => {
    const deadMan = ready();
    compareClocks(deadMan, "c2");
    expect(judge(deadMan, { n: 9, issuedMs: START_MS + 10 }, START_MS + 10).entitles).toBe(true);
    const other = { from: "c2", n: 1, issuedMs: START_MS + 20 };
    expect(judge(deadMan, other, START_MS + 20).entitles).toBe(true);
  });

  test("a digest may be judged again once the state has caught up, and opens as far as at first", () => {
    const deadMan = ready();
    const issuedMs = START_MS + 1_000;
    const first = judge(deadMan, { n: 1, issuedMs, stateHash: OTHER }, issuedMs + 10);
    expect(first).toEqual({ entitles: false, because: "state_differs" });
    const again = (nowMs: number, ownStateHash: Uint8Array) =>
      deadMan.judgeAgain({ nowNs: ns(nowMs), ownStateHash });
    expect(again(issuedMs + 20, OWN)).toEqual({ entitles: false, because: "state_differs" });
    expect(again(issuedMs + 30, OTHER)?.entitles).toBe(true);
    expect(deadMan.openUntilNs <= ns(issuedMs + T_MS)).toBe(true);
    const fresh = ready();
    judge(fresh, { n: 1, issuedMs, stateHash: OTHER }, issuedMs);
    const late = fresh.judgeAgain({ nowNs: ns(issuedMs + T_MS / 2 + 1), ownStateHash: OTHER });
    expect(late).toEqual({ entitles: false, because: "digest_old" });
  });

  test("there is nothing to judge again before a digest came", () => {
    expect(ready().judgeAgain({ nowNs: ns(START_MS), ownStateHash: OWN })).toBeUndefined();
  });
});

describe("E3: an age is never taken for less than it is", () => {
  test("for any path there and back, any delay, any drift within the bound", () => {
    const drift = Number(DRIFT_PPM);
    fc.assert(
      fc.property(
        fc.record({
          // Our clock runs at 1, the replica's at 1 + rate.
          ratePpm: fc.integer({ min: -drift + 1, max: drift - 1 }),
          offsetMs: fc.integer({ min: -4_000_000, max: 4_000_000 }),
          thereMs: anyMsTo(2_000),
          sinceMs: anyMsTo(EXCHANGE_EVERY_MS * 10),
          ageMs: anyMsTo(T_MS),
        }),
        ({ ratePpm, offsetMs, thereMs, sinceMs, ageMs }) => {
          const theirs = (ourMs: number): number =>
            (ourMs - START_MS) * (1 + ratePpm / 1e6) + START_MS + offsetMs;
          const answeredMs = START_MS + thereMs;
          const issuedMs = answeredMs + sinceMs;
          const receivedMs = issuedMs + ageMs;
          const deadMan = new DeadMan({ deadManMs: T_MS });
          deadMan.noteExchange({
            replica: "c1",
            bootId: "boot-1",
            sentNs: ns(START_MS),
            monoMs: BigInt(Math.floor(theirs(answeredMs))),
          });
          const digest = beat({ n: 1, issuedMs });
          digest.monoMs = BigInt(Math.floor(theirs(issuedMs)));
          const judged = deadMan.judge(digest, { receivedNs: ns(receivedMs), ownStateHash: OWN });
          const roundingMs = 0.001;
          if (judged.entitles) {
            expect(judged.ageMs).toBeGreaterThanOrEqual(ageMs - roundingMs);
            expect(judged.openUntilNs <= ns(issuedMs + T_MS + roundingMs)).toBe(true);
          } else {
            // A good clock is never called inconsistent, so only an age can refuse here.
            expect(judged.because).toBe("digest_old");
          }
        },
      ),
      { numRuns: RUNS, seed },
    );
  });

  test("though the replica's readings were cut to whole milliseconds", () => {
    const deadMan = new DeadMan({ deadManMs: T_MS });
    // Its clock read 999.9 when it answered at once, and 1000.0 when it issued.
    deadMan.noteExchange({ replica: "c1", bootId: "boot-1", sentNs: ns(5_000), monoMs: 999n });
    const digest = create(BeatSchema, { ...beat({ n: 1, issuedMs: START_MS }), monoMs: 1_000n });
    const judged = deadMan.judge(digest, { receivedNs: ns(5_010.1), ownStateHash: OWN });
    expect(judged.entitles && judged.ageMs).toBeGreaterThanOrEqual(10);
  });

  test("of several comparisons the tightest counts, whichever came first", () => {
    const ageAfter = (...delaysMs: number[]): number => {
      const deadMan = new DeadMan({ deadManMs: T_MS });
      for (const delayMs of delaysMs) {
        const monoMs = BigInt(START_MS + delayMs - OFFSET_MS);
        deadMan.noteExchange({ replica: "c1", bootId: "boot-1", sentNs: ns(START_MS), monoMs });
      }
      const judged = judge(deadMan, { n: 1, issuedMs: START_MS + 2_000 }, START_MS + 2_000);
      return judged.entitles ? judged.ageMs : Number.NaN;
    };
    expect(ageAfter(1_000)).toBeGreaterThan(ageAfter(0) + 900);
    expect(ageAfter(1_000, 0)).toBe(ageAfter(0));
    expect(ageAfter(0, 1_000)).toBe(ageAfter(0));
  });

  test("an old comparison gives way to a looser new one once drift has eaten its lead", () => {
    const deadMan = ready();
    const laterMs = START_MS + 3_600_000;
    const monoMs = BigInt(laterMs + 100 - OFFSET_MS);
    deadMan.noteExchange({ replica: "c1", bootId: "boot-1", sentNs: ns(laterMs), monoMs });
    const judged = judge(deadMan, { n: 1, issuedMs: laterMs }, laterMs);
    expect(judged.entitles && judged.ageMs).toBeGreaterThan(99);
    expect(judged.entitles && judged.ageMs).toBeLessThan(110);
  });

  test("a machine that slept finds its clock inconsistent and compares anew", () => {
    const deadMan = ready();
    const sleptMs = 60_000;
    const due = () => deadMan.exchangeDue("c1", "boot-1", ns(START_MS + 1_000));
    expect(due()).toBe(false);
    const judged = judge(deadMan, { n: 1, issuedMs: START_MS + sleptMs }, START_MS + 1_000);
    expect(judged).toEqual({ entitles: false, because: "clock_inconsistent" });
    expect(due()).toBe(true);
    const next = judge(deadMan, { n: 2, issuedMs: START_MS + sleptMs }, START_MS + 1_001);
    expect(next).toEqual({ entitles: false, because: "clock_unknown" });
  });
});

describe("E4: a replica whose clock was not compared", () => {
  test("entitles to nothing after its restart until it is compared again", () => {
    const deadMan = ready();
    expect(deadMan.exchangeDue("c1", "boot-2", ns(START_MS))).toBe(true);
    const digest = { n: 1, epoch: 2, bootId: "boot-2", issuedMs: START_MS + 10 };
    const judged = judge(deadMan, digest, START_MS + 10);
    expect(judged).toEqual({ entitles: false, because: "clock_unknown" });
    compareClocks(deadMan, "c1", "boot-2");
    const again = deadMan.judgeAgain({ nowNs: ns(START_MS + 20), ownStateHash: OWN });
    expect(again?.entitles).toBe(true);
  });

  test("is due for a comparison at first and after a minute", () => {
    const deadMan = new DeadMan({ deadManMs: T_MS });
    const due = (ms: number) => deadMan.exchangeDue("c1", "boot-1", ns(START_MS + ms));
    expect(due(0)).toBe(true);
    compareClocks(deadMan);
    expect([due(0), due(EXCHANGE_EVERY_MS - 1), due(EXCHANGE_EVERY_MS)]).toEqual([
      false,
      false,
      true,
    ]);
  });
});

test("names of replicas beyond the limit are not kept", () => {
  const deadMan = new DeadMan({ deadManMs: T_MS });
  for (let n = 0; n < REPLICAS_MAX; n += 1) compareClocks(deadMan, `c${n}`);
  compareClocks(deadMan, "one-too-many");
  const digest = { from: "one-too-many", n: 1, issuedMs: START_MS };
  expect(judge(deadMan, digest, START_MS + 10)).toEqual({
    entitles: false,
    because: "digest_malformed",
  });
  expect(judge(deadMan, { from: "c0", n: 1, issuedMs: START_MS }, START_MS + 10).entitles).toBe(
    true,
  );
});

test("a dead-man time that is no time is a bug and throws", () => {
  for (const deadManMs of [0, -1, Number.NaN]) {
    expect(() => new DeadMan({ deadManMs })).toThrow(RangeError);
  }
});

/** To the microsecond. Doubles would be drawn by their exponent: nearly all of them nearly 0. */
function anyMsTo(maxMs: number): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: maxMs * 1_000 }).map((us) => us / 1_000);
}
