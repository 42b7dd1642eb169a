import { beforeEach, describe, expect, test } from "vitest";
import type { MeshRecord } from "../../../../mesh/record.ts";
import { Directory } from "../../../../node/mesh/directory.ts";
import {
  LOOKUP_BURST,
  LOOKUP_SOURCES_MAX,
  LOOKUPS_PER_SECOND,
  LookupLimit,
} from "../../../../node/mesh/lookup-limit.ts";
import { lend, takeBackRetired } from "../../../../node/table/lend.ts";
import { pin, unpin } from "../../../../node/table/rows.ts";
import { killedBy } from "../../../../node/table/scope-cells.ts";
import { createTable, keyGeneration, type Table } from "../../../../node/table/table.ts";
import { agentHandle, type RowGrant } from "../../../../node/thread-messages.ts";
import { AUTHORITY, child, type Forged, root } from "../../../support/contract-forge.ts";
import { key, kill, sha256Hex, World } from "./mesh-world.ts";

const CONTRACT = "c".repeat(43);
const world = new World();
let table: Table;
let killed: Set<string>;
let directory: Directory;

beforeEach(() => {
  world.state = new (world.state.constructor as new () => typeof world.state)();
  table = createTable({ rows: 3, loops: 1, scopes: 8, writers: 1, proofs: 64 });
  killed = new Set();
  directory = new Directory({ table, killed: (scope) => killed.has(scope) });
});

function learn(record: MeshRecord): void {
  world.state.merge(record);
  directory.learnKey(record);
}

function addKey(id: string, secret: string, agent: string, contract = ""): void {
  learn(world.make(`key/${id}`, key(secret, agent, contract)));
}

function resolve(secret: string, source = "10.0.0.1", nowNs = 0n) {
  return directory.resolve(sha256Hex(secret), source, nowNs);
}

function grantOf(secret: string): RowGrant {
  const answer = resolve(secret);
  if (!("grant" in answer)) throw new Error(answer.refused);
  return answer.grant;
}

test("a key that nobody issued is unknown", () => {
  expect(resolve("secret")).toEqual({ refused: "key_unknown" });
});

test("a key leads to a row that can be pinned and says whose it is", () => {
  addKey("key00001", "secret", "red/a", CONTRACT);
  const grant = grantOf("secret");
  expect(grant).toMatchObject({ agentId: "red/a", keyId: "key00001", contractId: CONTRACT });
  expect(grant.keyGeneration).toBe(keyGeneration(table));
  expect(pin(table, 0, grant)).toBe(true);
});

test("two keys of an agent share its row, and a contract has a row of its own", () => {
  addKey("key00001", "one", "red/a");
  addKey("key00002", "two", "red/a");
  addKey("key00003", "three", "red/a", CONTRACT);
  expect(grantOf("one").row).toBe(grantOf("two").row);
  expect(grantOf("three").row).not.toBe(grantOf("one").row);
  expect(resolve("one")).toMatchObject({ isNewRow: false });
});

test("an agent that is known by its address has the row of a key that no contract binds", () => {
  const bySource = (agent: string) => directory.resolve(agentHandle(agent), "10.0.0.1", 0n);
  addKey("key00003", "three", "red/a", CONTRACT);
  expect(bySource("red/a")).toEqual({ refused: "key_unknown" });
  addKey("key00002", "two", "red/a");
  addKey("key00001", "one", "red/a");
  expect(bySource("red/a")).toMatchObject({ grant: { keyId: "key00001", agentId: "red/a" } });
  learn(world.make("key/key00001", kill()));
  expect(bySource("red/a")).toMatchObject({ grant: { keyId: "key00002" } });
  learn(world.make("key/key00002", kill()));
  expect(bySource("red/a")).toEqual({ refused: "key_revoked" });
  expect(bySource("red/b")).toEqual({ refused: "key_unknown" });
});

test("D1: a row starts under the kills that are in merged state", () => {
  addKey("key00001", "secret", "red/a", CONTRACT);
  killed.add(`contract/${CONTRACT}`);
  expect(killedBy(table, grantOf("secret").row)).toBe("contract");
});

test("a scope's kill reaches every row under it and no other", () => {
  addKey("key00001", "one", "red/a");
  addKey("key00002", "two", "red/b");
  addKey("key00003", "three", "blue/a");
  const [one, two, three] = ["one", "two", "three"].map((secret) => grantOf(secret).row);
  expect(directory.store("team/red", true)).toBe(true);
  expect(directory.store("agent/blue/a", true)).toBe(true);
  expect(directory.store("agent/green/x", true)).toBe(false);
  expect(killedBy(table, one as number)).toBe("team");
  expect(killedBy(table, two as number)).toBe("team");
  expect(killedBy(table, three as number)).toBe("agent");
  directory.store("team/red", false);
  expect(killedBy(table, one as number)).toBeUndefined();
});

test("D3: a change of keys makes earlier answers void, and a removed key is refused", () => {
  addKey("key00001", "secret", "red/a");
  const grant = grantOf("secret");
  learn(world.make("key/key00001", kill()));
  expect(keyGeneration(table)).not.toBe(grant.keyGeneration);
  expect(resolve("secret")).toEqual({ refused: "key_revoked" });
});

test("a key that was replaced no longer opens by its old secret", () => {
  addKey("key00001", "old", "red/a");
  addKey("key00001", "new", "red/a");
  expect(resolve("old")).toEqual({ refused: "key_unknown" });
  expect(grantOf("new").agentId).toBe("red/a");
});

test("a hash that two keys claim names nobody", () => {
  addKey("key00001", "secret", "red/a");
  addKey("key00002", "secret", "blue/b");
  expect(resolve("secret")).toEqual({ refused: "key_unknown" });
  learn(world.make("key/key00001", kill()));
  expect(grantOf("secret").agentId).toBe("blue/b");
});

test("a full table refuses, whether it lacks a row or a scope cell, and gives nothing away", () => {
  for (const [i, agent] of ["t1/a", "t1/b", "t1/c", "t1/d"].entries()) {
    addKey(`key0000${i}`, agent, agent);
  }
  for (const agent of ["t1/a", "t1/b", "t1/c"]) grantOf(agent);
  expect(resolve("t1/d")).toEqual({ refused: "table_full" });

  table = createTable({ rows: 8, loops: 1, scopes: 4, writers: 1, proofs: 64 });
  directory = new Directory({ table, killed: () => false });
  for (const [i, agent] of ["t1/a", "t2/b", "t1/c"].entries()) {
    addKey(`key1000${i}`, agent, agent);
  }
  grantOf("t1/a");
  expect(resolve("t2/b")).toEqual({ refused: "table_full" });
  expect(directory.rowCount).toBe(1);
  // The one cell that is left was not lost by the attempt.
  grantOf("t1/c");
});

test("a row is freed once its last request has ended and its money was taken back", () => {
  addKey("key00001", "secret", "red/a");
  const grant = grantOf("secret");
  pin(table, 0, grant);
  lend(table, grant.row, { usdMicros: 5n, tokens: 0n, calls: 0n });
  directory.free("red/a");
  expect(pin(table, 0, grant)).toBe(false);
  expect(directory.sweep(10)).toEqual([]);
  unpin(table, 0, grant.row);
  expect(directory.sweep(10)).toEqual([
    { row: grant.row, generation: grant.generation, agentId: "red/a" },
  ]);
  expect(directory.sweep(10)).toEqual([]);
  expect(directory.rowCount).toBe(1);
  expect(takeBackRetired(table, grant).usdMicros).toBe(5n);
  directory.sweep(10);
  expect(directory.rowCount).toBe(0);
  expect(directory.isLeaving).toBe(false);
});

test("D2: a request that still runs in a freed row sees kills of its scopes until it ends", () => {
  addKey("key00001", "secret", "red/a");
  const grant = grantOf("secret");
  pin(table, 0, grant);
  directory.free("red/a");
  const again = grantOf("secret");
  expect(again.row).not.toBe(grant.row);
  directory.store("agent/red/a", true);
  expect(killedBy(table, grant.row)).toBe("agent");
  expect(killedBy(table, again.row)).toBe("agent");
  unpin(table, 0, grant.row);
  directory.sweep(10);
  directory.sweep(10);
  // The new row still stands under the scope, so its cell is still the scope's.
  directory.store("agent/red/a", false);
  directory.store("agent/red/a", true);
  expect(killedBy(table, again.row)).toBe("agent");
});

test("a scope cell that was given up and reused says nothing of its former scope", () => {
  table = createTable({ rows: 1, loops: 1, scopes: 3, writers: 1, proofs: 64 });
  directory = new Directory({ table, killed: (scope) => killed.has(scope) });
  addKey("key00001", "one", "red/a");
  addKey("key00002", "two", "blue/b");
  const one = grantOf("one");
  killed.add("team/red");
  directory.store("team/red", true);
  directory.free("red/a");
  directory.sweep(1);
  directory.sweep(1);
  const two = grantOf("two");
  expect(two.row).toBe(one.row);
  expect(killedBy(table, two.row)).toBeUndefined();
  expect(directory.store("team/red", true)).toBe(false);
  expect(killedBy(table, two.row)).toBeUndefined();
});

test("unknown keys are answered in bursts and then so many a second, known ones always", () => {
  addKey("key00001", "secret", "red/a");
  for (let i = 0; i < LOOKUP_BURST; i++) {
    expect(resolve(`guess ${i}`)).toEqual({ refused: "key_unknown" });
  }
  expect(resolve("one more")).toEqual({ refused: "lookups_exhausted" });
  expect(resolve("one more", "10.0.0.2")).toEqual({ refused: "key_unknown" });
  expect(resolve("secret")).toHaveProperty("grant");
  const second = 1_000_000_000n;
  let answered = 0;
  for (let i = 0; i < 1_000; i++) {
    const answer = resolve(`later ${i}`, "10.0.0.1", second);
    if ("refused" in answer && answer.refused === "key_unknown") answered++;
  }
  expect(answered).toBe(LOOKUPS_PER_SECOND);
});

test("sources beyond the bound share one allowance, until others have rested", () => {
  const limit = new LookupLimit();
  for (let i = 0; i < LOOKUP_SOURCES_MAX; i++) expect(limit.admit(`s${i}`, 1n)).toBe(true);
  let admitted = 0;
  for (let i = 0; i < 1_000; i++) if (limit.admit(`more ${i}`, 1n)) admitted++;
  expect(admitted).toBe(LOOKUP_BURST);
  expect(limit.sourceCount).toBe(LOOKUP_SOURCES_MAX);
  const later = 60_000_000_000n;
  for (let i = 0; i < 1_000; i++) expect(limit.admit(`fresh ${i}`, later)).toBe(true);
  expect(limit.sourceCount).toBeLessThanOrEqual(LOOKUP_SOURCES_MAX);
});

describe("D5: a contract is killed with whatever its authority comes from", () => {
  const top = root({ agent: "red/planner" });
  const middle = child(top, { agent: "red/lead" });
  const low = child(middle, { agent: "red/worker" });

  function rowOf(...links: readonly [Forged, ...Forged[]]): number {
    const leaf = links.at(-1) ?? links[0];
    const verified = { links, root: links[0], leaf, effective: AUTHORITY };
    const served = { keySha256: leaf.id, chain: "", freshUntilNs: 0n, verified };
    const answer = directory.resolveContract({ ...served, rate: AUTHORITY.rate }, 0n);
    if (!("grant" in answer)) throw new Error(answer.refused);
    return answer.grant.row;
  }

  /** As enforcement does: merged state knows first. */
  function store(scope: string, isKilled: boolean): boolean {
    if (isKilled) killed.add(scope);
    else killed.delete(scope);
    return directory.store(scope, isKilled);
  }

  test("an agent that delegated, until it is revived, wherever it has no row itself", () => {
    const [worker, lead] = [rowOf(top, middle, low), rowOf(top, middle)];
    expect(directory.contractsUnder("agent/red/lead")).toEqual([low.id]);
    expect(store("agent/red/planner", true)).toBe(true);
    expect([worker, lead].map((row) => killedBy(table, row))).toEqual(["contract", "contract"]);
    expect(store("agent/red/planner", false)).toBe(true);
    expect([worker, lead].map((row) => killedBy(table, row))).toEqual([undefined, undefined]);
    store("agent/red/lead", true);
    expect([worker, lead].map((row) => killedBy(table, row))).toEqual(["contract", "agent"]);
  });

  test("an agent that delegated to itself by its own cell alone: what it has open is cut once", () => {
    const own = child(top, { agent: "red/planner" });
    const row = rowOf(top, own);
    expect(directory.contractsUnder("agent/red/planner")).toEqual([]);
    store("agent/red/planner", true);
    expect(killedBy(table, row)).toBe("agent");
    store("agent/red/planner", false);
    expect(killedBy(table, row)).toBeUndefined();
  });

  test("whichever key named the contract first, or after", () => {
    addKey("key00001", "first", "red/worker", low.id);
    grantOf("first");
    const worker = rowOf(top, middle, low);
    expect(store("agent/red/planner", true)).toBe(true);
    expect(killedBy(table, worker)).toBe("contract");
    // It shares the contract's cell, and must not have it say less.
    addKey("key00002", "after", "red/other", low.id);
    const other = grantOf("after").row;
    expect([worker, other].map((row) => killedBy(table, row))).toEqual(["contract", "contract"]);
    store("agent/red/planner", false);
    expect([worker, other].map((row) => killedBy(table, row))).toEqual([undefined, undefined]);
  });

  test("one that is killed already when the row is made", () => {
    killed.add("agent/red/planner");
    expect(killedBy(table, rowOf(top, middle, low))).toBe("contract");
  });

  test("one that was revoked and has ended, for as long as a row is under it", () => {
    const worker = rowOf(top, middle, low);
    store(`contract/${top.id}`, true);
    killed.delete(`contract/${top.id}`);
    directory.ended(`contract/${top.id}`);
    store("agent/red/planner", true);
    store("agent/red/planner", false);
    expect(killedBy(table, worker)).toBe("contract");
    directory.free("red/worker");
    while (directory.isLeaving) directory.sweep(8);
    expect(killedBy(table, rowOf(top, middle, low)), "who verifies a chain knows its end").toBe(
      undefined,
    );
  });

  test("a revive of one leaves what another kill covers", () => {
    const worker = rowOf(top, middle, low);
    store("agent/red/planner", true);
    store(`contract/${middle.id}`, true);
    store("agent/red/planner", false);
    expect(killedBy(table, worker)).toBe("contract");
    store("agent/red/lead", true);
    store("agent/red/lead", false);
    expect(killedBy(table, worker)).toBe("contract");
  });

  test("but not with whom it delegated to, nor with a neighbour", () => {
    const lead = rowOf(top, middle);
    for (const scope of ["agent/red/worker", `contract/${low.id}`, "agent/red/other"]) {
      store(scope, true);
    }
    expect(killedBy(table, lead)).toBeUndefined();
  });

  test("and nothing is remembered of it once its row is gone", () => {
    rowOf(top, middle, low);
    directory.free("red/worker");
    for (const { row, generation } of directory.sweep(8))
      takeBackRetired(table, { row, generation });
    directory.sweep(8);
    expect(directory.contractsUnder("agent/red/planner")).toEqual([]);
    expect(store("agent/red/planner", true)).toBe(false);
  });
});
