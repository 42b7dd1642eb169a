import { describe, expect, test } from "vitest";
import type { ProbeLog } from "../../../bench/harness/probe-log.ts";
import { judgeKills, type KillSeen } from "../../../bench/kill-verdict.ts";

const SCOPE = "agent/bench/target";
const MS = 1_000_000n;
const prompt: KillSeen = { enforcedNs: 40_000n, durableNs: 900_000n, stallNs: 0n };

/** A kill at 10 ms and its revive at 20 ms, and heads at the given times. */
function log(heads: Readonly<Record<string, bigint>>): Pick<ProbeLog, "headNs" | "changes"> {
  return {
    headNs: new Map(Object.entries(heads)),
    changes: [
      { op: "kill", scope: SCOPE, receivedNs: 10n * MS },
      { op: "revive", scope: SCOPE, receivedNs: 20n * MS },
    ],
  };
}

function judge(over: Partial<Parameters<typeof judgeKills>[0]>) {
  return judgeKills({
    kills: [prompt],
    log: log({}),
    scope: SCOPE,
    reached: new Map(),
    floorKills: 0,
    ...over,
  });
}

describe("judgeKills", () => {
  test("a head 1 ms and a nanosecond after the kill must not have reached the upstream", () => {
    const late = log({ early: 11n * MS, late: 11n * MS + 1n, revived: 20n * MS });
    const reached = new Map([
      ["early", 12n * MS],
      ["late", 12n * MS],
      ["revived", 21n * MS],
    ]);
    expect(judge({ log: late, reached })).toMatchObject({
      violations: ["late"],
      headsJudged: 1,
      killsTested: 1,
    });
  });

  test("refused heads are judged and are no violation", () => {
    expect(judge({ log: log({ refused: 12n * MS }) })).toMatchObject({
      violations: [],
      headsJudged: 1,
    });
  });

  test("a violation during a stall of the host is told apart, not left out", () => {
    const kills = [{ ...prompt, stallNs: MS + 1n }];
    const verdict = judge({
      kills,
      log: log({ late: 12n * MS }),
      reached: new Map([["late", 13n * MS]]),
    });
    expect(verdict).toMatchObject({ violations: [], stalled: ["late"] });
  });

  test("a head just before the revive that arrives after it was decided under the revive", () => {
    const verdict = judge({
      log: log({ waited: 19n * MS }),
      reached: new Map([["waited", 20n * MS]]),
    });
    expect(verdict).toMatchObject({ violations: [], atRevive: ["waited"] });
  });

  test("kills that the probe did not see are counted", () => {
    expect(judge({ kills: [prompt, prompt] }).killsMissed).toBe(1);
  });

  test("a kill without a request soon after it tested nothing", () => {
    expect(judge({ log: log({ much_later: 19n * MS }) }).killsTested).toBe(0);
  });

  test("records of other scopes and repeated ones change nothing", () => {
    const { headNs, changes } = log({ late: 19n * MS });
    const more: ProbeLog["changes"] = [
      ...changes.slice(0, 1),
      { op: "kill", scope: SCOPE, receivedNs: 12n * MS },
      { op: "revive", scope: "team/bench", receivedNs: 15n * MS },
      ...changes.slice(1),
    ];
    const verdict = judge({
      log: { headNs, changes: more },
      reached: new Map([["late", 19n * MS]]),
    });
    expect(verdict).toMatchObject({ violations: ["late"], killsMissed: 0 });
  });
});
