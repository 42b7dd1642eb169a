import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CONTRACT_END_AHEAD_MS, contractEndOf } from "../../../mesh/contract-end.ts";
import { distrustOf } from "../../../mesh/distrust-of.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import { isGreater, MeshState } from "../../../mesh/state.ts";
import { parseScope } from "../../../proto/ids.ts";
import { proofCount } from "../../support/proof.ts";
import {
  after,
  distrust,
  kill,
  limit,
  record,
  revive,
  revocation,
  virtualKey,
} from "./sample-mesh.ts";

const { count: RUNS, seed } = proofCount("merge", { small: 200, full: 5_000 });
const PROPERTY = { numRuns: RUNS, seed };

/** A record as `openRecord` gives it, without the cost of a signature. */
function bare(scope: string, v: number, op: RecordOp, salt: number): MeshRecord {
  const parsed = parseScope(scope);
  if (!parsed) throw new Error(scope);
  const said = op.case === "limit" ? op.value.of.value : op.case === "kill" ? op.value : "";
  const amount = JSON.stringify(said, bigintText);
  const payload = `${scope} ${v} ${op.case} ${amount} ${salt}`;
  const hash = createHash("sha256").update(payload).digest();
  return {
    scope,
    parsed,
    v,
    prev: new Uint8Array(0),
    hash,
    hashHex: hash.toString("hex"),
    cmdId: "",
    issuedAtMs: 0,
    operator: "",
    op,
    bytes: Buffer.from(payload),
    kids: [],
  };
}

const bigintText = (_: string, value: unknown) =>
  typeof value === "bigint" ? value.toString() : value;

const version = fc.integer({ min: 1, max: 4 });
const salt = fc.integer({ min: 0, max: 2 });
const killable = fc
  .tuple(fc.constantFrom("global", "team/a", "agent/a/b", "agent/a/c"), version, fc.boolean(), salt)
  .map(([scope, v, isKill, n]) => bare(scope, v, isKill ? kill() : revive(), n));
const key = fc
  .tuple(version, fc.boolean(), salt)
  .map(([v, isKill, n]) => bare("key/abcdefgh", v, isKill ? kill() : virtualKey(), n));
const distrusted = fc
  .tuple(version, fc.bigInt(1_000n, 1_003n), fc.bigInt(0n, 2n), salt)
  .map(([v, milli, era, n]) => bare("distrust/p/m", v, distrust(milli, { era }), n));
const HOUR_MS = 3_600_000;
const contract = (no: number) => `contract/${String(no).repeat(43)}`;
const revoked = fc
  .tuple(fc.integer({ min: 1, max: 6 }), version, fc.integer({ min: 1, max: 80 }), salt)
  .map(([no, v, hours, n]) => bare(contract(no), v, revocation(hours * HOUR_MS), n));
const anyRecord = fc.oneof(killable, key, distrusted, revoked);
const history = fc.array(anyRecord, { maxLength: 24 });

function merged(records: Iterable<MeshRecord>): MeshState {
  const state = new MeshState();
  for (const each of records) state.merge(each);
  return state;
}

const winners = (state: MeshState): readonly (readonly [string, string])[] =>
  state.recordsAfter("", 1_000).map((each) => [each.scope, each.hashHex] as const);

describe("K1: merging is a join", () => {
  test("any order, and any repetition, of the same records gives the same state", () => {
    fc.assert(
      fc.property(
        history.chain((records) =>
          fc.tuple(
            fc.constant(records),
            fc.shuffledSubarray([...records, ...records], {
              minLength: records.length * 2,
              maxLength: records.length * 2,
            }),
          ),
        ),
        ([records, shuffled]) => {
          expect(winners(merged(shuffled))).toEqual(winners(merged(records)));
          expect(merged(shuffled).hashHex()).toBe(merged(records).hashHex());
        },
      ),
      PROPERTY,
    );
  });

  test("merging two replicas' states is commutative and associative", () => {
    fc.assert(
      fc.property(history, history, history, (a, b, c) => {
        const join = (...states: MeshState[]) => merged(states.flatMap((s) => [...s.records()]));
        const [x, y, z] = [merged(a), merged(b), merged(c)];
        expect(winners(join(x, y))).toEqual(winners(join(y, x)));
        expect(winners(join(join(x, y), z))).toEqual(winners(join(x, join(y, z))));
        expect(winners(join(x, x))).toEqual(winners(x));
        expect(winners(join(x, y, z))).toEqual(winners(merged([...a, ...b, ...c])));
      }),
      PROPERTY,
    );
  });

  test("of two records of one scope that differ, exactly one is greater", () => {
    fc.assert(
      fc.property(anyRecord, anyRecord, (left, right) => {
        fc.pre(left.scope === right.scope && left.hashHex !== right.hashHex);
        expect(isGreater(left, right)).toBe(!isGreater(right, left));
      }),
      PROPERTY,
    );
  });

  test("the order is transitive", () => {
    fc.assert(
      fc.property(distrusted, distrusted, distrusted, (a, b, c) => {
        fc.pre(isGreater(a, b) && isGreater(b, c));
        expect(isGreater(a, c)).toBe(true);
      }),
      PROPERTY,
    );
  });
});

describe("K3: kill dominance", () => {
  test("if any record of a scope's highest version is a kill, the scope is killed", () => {
    fc.assert(
      fc.property(fc.array(killable, { minLength: 1, maxLength: 24 }), (records) => {
        const state = merged(records);
        for (const scope of new Set(records.map((each) => each.scope))) {
          const own = records.filter((each) => each.scope === scope);
          const highest = Math.max(...own.map((each) => each.v));
          const hasKill = own.some((each) => each.v === highest && each.op.case === "kill");
          expect(state.killed(scope)).toBe(hasKill);
        }
      }),
      PROPERTY,
    );
  });

  test("no record of another scope changes whether a scope is killed", () => {
    fc.assert(
      fc.property(history, (records) => {
        const all = merged(records);
        for (const scope of ["global", "team/a", "agent/a/b"]) {
          const own = merged(records.filter((each) => each.scope === scope));
          expect(all.killed(scope)).toBe(own.killed(scope));
        }
      }),
      PROPERTY,
    );
  });
});

describe("K4: no way back", () => {
  test("the version of a scope never goes down, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(killable, key), { maxLength: 24 }), (records) => {
        const state = new MeshState();
        for (const each of records) {
          const before = state.get(each.scope)?.v ?? 0;
          state.merge(each);
          expect(state.get(each.scope)?.v).toBe(Math.max(before, each.v));
        }
      }),
      PROPERTY,
    );
  });

  test("distrust never goes down within the last era, whatever comes, and no era comes back", () => {
    fc.assert(
      fc.property(fc.array(distrusted, { minLength: 1, maxLength: 24 }), (records) => {
        const said = records.map(({ op }) => distrustOf(op) ?? { era: 0n, milli: 0n });
        const most = (amounts: readonly bigint[]) => amounts.reduce((a, b) => (a > b ? a : b));
        const era = most(said.map((one) => one.era));
        const milli = most(said.map((one) => (one.era === era ? one.milli : 0n)));
        const current = merged(records).get("distrust/p/m");
        expect(distrustOf(current?.op)).toMatchObject({ era, milli });
      }),
      PROPERTY,
    );
  });
});

describe("K8: revocations of ended contracts", () => {
  const AHEAD_H = 49;

  test("are no part of the state once one of a contract is there that ends two days later", () => {
    fc.assert(
      fc.property(fc.array(revoked, { minLength: 1, maxLength: 24 }), (records) => {
        const forgotten: string[] = [];
        const state = new MeshState({ onForgotten: ({ scope }) => forgotten.push(scope) });
        for (const each of records) state.merge(each);
        state.hash();
        const ends = records.map((each) => contractEndOf(each) ?? 0);
        const endedMs = Math.max(...ends) - CONTRACT_END_AHEAD_MS;
        expect(state.contractsEndedMs).toBe(Math.max(0, endedMs));
        const latest = new Map<string, number>();
        records.forEach(({ scope }, i) => {
          latest.set(scope, Math.max(latest.get(scope) ?? 0, ends[i] as number));
        });
        const kept = [...latest].filter(([, endMs]) => endMs > state.contractsEndedMs);
        expect([...state.records()].map(({ scope }) => scope).sort()).toEqual(
          kept.map(([scope]) => scope).sort(),
        );
        for (const [scope, endMs] of kept) {
          expect(contractEndOf(state.get(scope) as MeshRecord), "K4").toBe(endMs);
        }
        expect(new Set(forgotten).size, "each is told once").toBe(forgotten.length);
      }),
      PROPERTY,
    );
  });

  test("stay out when they come again, and buckets know nothing of them", () => {
    const state = merged([bare(contract(1), 1, revocation(HOUR_MS), 0)]);
    const late = bare(contract(2), 1, revocation((2 + AHEAD_H) * HOUR_MS), 0);
    state.merge(late);
    expect(state.merge(bare(contract(1), 2, revocation(HOUR_MS), 1))).toMatchObject({
      changed: false,
    });
    const only = merged([late]);
    expect(state.hashHex()).toBe(only.hashHex());
    expect(state.killed(contract(1))).toBe(false);
    expect(state.buckets().differing(only.buckets().toBytes())).toEqual([]);
    expect(state.buckets().scopesIn(Array.from({ length: 256 }, (_, i) => i))).toEqual([
      contract(2),
    ]);
  });

  test("of which nobody told the end are kept for as long as a contract of that time may live", () => {
    const untold = { ...bare(contract(1), 1, kill(), 0), issuedAtMs: 100 * HOUR_MS };
    const state = merged([untold, bare(contract(2), 1, revocation(150 * HOUR_MS), 0)]);
    expect(state.killed(contract(1))).toBe(true);
    state.merge(bare(contract(3), 1, revocation(173 * HOUR_MS), 0));
    state.hash();
    expect(state.killed(contract(1))).toBe(false);
    expect(state.killed(contract(2))).toBe(true);
  });

  test("go a little at a time where that is asked for, and all before a hash", () => {
    const many = Array.from({ length: 200 }, (_, i) =>
      bare(`contract/${String(i).padStart(43, "x")}`, 1, revocation(HOUR_MS), i),
    );
    const late = bare(contract(2), 1, revocation(60 * HOUR_MS), 0);
    const [slow, fast] = [merged([...many, late]), merged([...many, late])];
    let rounds = 1;
    while (slow.forgetEnded()) {
      rounds += 1;
      expect(slow.size).toBeGreaterThan(1);
    }
    expect(rounds).toBeGreaterThan(2);
    expect(slow.size).toBe(1);
    expect(fast.hashHex()).toBe(slow.hashHex());
    expect(fast.size).toBe(1);
  });
});

describe("the state hash", () => {
  test("is the sum modulo 2^256 of the hashes of what is current", () => {
    fc.assert(
      fc.property(history, (records) => {
        const state = merged(records);
        let sum = 0n;
        for (const each of state.records()) sum += BigInt(`0x${each.hashHex}`);
        const expected = (sum % (1n << 256n)).toString(16).padStart(64, "0");
        expect(state.hashHex()).toBe(expected);
        expect(Buffer.from(state.hash()).toString("hex")).toBe(expected);
        expect(state.hash()).toHaveLength(32);
      }),
      PROPERTY,
    );
  });

  test("of nothing is 32 zeros", () => {
    expect(new MeshState().hash()).toEqual(Buffer.alloc(32));
  });

  test("tells two records of one version apart", () => {
    const left = merged([bare("budget/team/a", 1, limit(1n), 0)]);
    const right = merged([bare("budget/team/a", 1, limit(2n), 0)]);
    expect(left.hashHex()).not.toBe(right.hashHex());
  });
});

describe("a merge tells", () => {
  const first = record("agent/a/b", kill("first"));
  const second = after(first, revive());

  test("changed for what is new, known for what came before, older for what is past", () => {
    const state = new MeshState();
    expect(state.merge(first)).toEqual({ outcome: "changed", changed: true, before: undefined });
    expect(state.merge(first)).toEqual({ outcome: "known", changed: false, before: first });
    expect(state.merge(second)).toEqual({ outcome: "changed", changed: true, before: first });
    expect(state.merge(first)).toEqual({ outcome: "older", changed: false, before: second });
    expect(state.get("agent/a/b")).toBe(second);
    expect(state.size).toBe(1);
  });

  test("conflict for two commands that crossed, and whether the newcomer won", () => {
    const left = record("agent/a/b", revive("left"));
    const right = record("agent/a/b", kill("right"));
    const state = merged([left]);
    expect(state.merge(right)).toEqual({ outcome: "conflict", changed: true, before: left });
    expect(state.merge(left)).toEqual({ outcome: "conflict", changed: false, before: right });
    expect(state.killed("agent/a/b")).toBe(true);
  });
});

describe("what is killed", () => {
  test("an agent is covered by kills of everybody, its team and itself, and by no other", () => {
    const state = merged([
      record("agent/a/b", kill()),
      record("team/a", kill()),
      record("agent/a/bb", kill()),
      record("team/b", kill()),
    ]);
    const covering = (id: string) => state.killsFor(id).map((each) => each.scope);
    expect(covering("a/b")).toEqual(["team/a", "agent/a/b"]);
    expect(covering("a/x")).toEqual(["team/a"]);
    expect(covering("c/b")).toEqual([]);
    state.merge(record("global", kill()));
    expect(covering("c/b")).toEqual(["global"]);
  });

  test("reviving an agent leaves its team killed", () => {
    const agent = record("agent/a/b", kill());
    const state = merged([agent, record("team/a", kill()), after(agent, revive())]);
    expect(state.killsFor("a/b").map((each) => each.scope)).toEqual(["team/a"]);
    expect(state.killedScopes()).toEqual(["team/a"]);
  });

  test("what is no agent id throws instead of being covered by nothing", () => {
    for (const id of ["", "a", "a/b/c", "A/b", "agent/a/b"]) {
      expect(() => new MeshState().killsFor(id), id).toThrow(TypeError);
    }
  });
});

test("pages of the state hold every record once, in scope order", () => {
  fc.assert(
    fc.property(history, fc.integer({ min: 1, max: 5 }), (records, count) => {
      const state = merged(records);
      const seen: string[] = [];
      for (;;) {
        const page = state.recordsAfter(seen.at(-1) ?? "", count);
        if (page.length === 0) break;
        expect(page.length).toBeLessThanOrEqual(count);
        seen.push(...page.map((each) => each.scope));
      }
      expect(seen).toEqual([...state.records()].map((each) => each.scope).sort());
    }),
    PROPERTY,
  );
});

test("a page that was asked for before a scope came does not hide it", () => {
  const state = merged([record("agent/a/c", kill())]);
  expect(state.recordsAfter("", 10)).toHaveLength(1);
  state.merge(record("agent/a/b", kill()));
  expect(state.recordsAfter("", 10).map((each) => each.scope)).toEqual(["agent/a/b", "agent/a/c"]);
});

describe("buckets", () => {
  const sumsOf = (state: MeshState) => state.buckets().toBytes();

  test("the same records give the same sums, in any order", () => {
    fc.assert(
      fc.property(history, (records) => {
        expect(sumsOf(merged(records))).toEqual(sumsOf(merged([...records].reverse())));
      }),
      PROPERTY,
    );
  });

  test("the buckets that differ hold every scope whose records differ, and hardly another", () => {
    fc.assert(
      fc.property(history, history, (left, right) => {
        const [one, other] = [merged(left), merged(right)];
        const buckets = one.buckets().differing(sumsOf(other)) ?? [];
        expect(other.buckets().differing(sumsOf(one))).toEqual(buckets);
        const scopes = new Set([...one.records(), ...other.records()].map(({ scope }) => scope));
        const differ = [...scopes].filter(
          (scope) => one.get(scope)?.hashHex !== other.get(scope)?.hashHex,
        );
        const found = [one, other].flatMap((state) => state.buckets().scopesIn(buckets));
        // Six scopes in 256 buckets: each has one of its own here.
        expect([...new Set(found)].sort()).toEqual(differ.sort());
      }),
      PROPERTY,
    );
  });

  test("sums that were handed out stay what they were", () => {
    const state = new MeshState();
    state.merge(record("global", kill()));
    const handed = sumsOf(state);
    const before = Buffer.from(handed);
    state.merge(record("global", revive(), { v: 2 }));
    expect(Buffer.from(handed)).toEqual(before);
    expect(state.buckets().differing(handed)).toHaveLength(1);
  });

  test("sums of another length compare with nothing", () => {
    expect(new MeshState().buckets().differing(new Uint8Array(2_047))).toBeUndefined();
  });
});
