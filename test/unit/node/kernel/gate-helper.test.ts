import { describe, expect, test } from "vitest";
import { GateHelperKeeper } from "../../../../node/kernel/gate-helper-keeper.ts";
import { gateTable } from "../../../../node/kernel/gate-table.ts";
import { BATCH_ADDRESSES_MAX, killedSetBatch } from "../../../../node/kernel/set-elements.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const SCOPES = new Map([
  ["agent/a/b", ["10.0.0.1", "fd00::1"]],
  ["team/empty", []],
]);

/** What a frame holds, read as the program reads it. */
function read(table: Uint8Array): { scope: string; peers: string[]; batches: string[] }[] {
  const bytes = Buffer.from(table);
  const rows: { scope: string; peers: string[]; batches: string[] }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at);
    const zero = bytes.indexOf(0, at + 4);
    if (end === at + 4) return at + 4 === bytes.length ? rows : [];
    const peers: string[] = [];
    let b = zero + 1;
    for (const each of [4, 16]) {
      const next = b + 4 + each * bytes.readUInt32LE(b);
      for (b += 4; b < next; b += each) peers.push(bytes.subarray(b, b + each).toString("hex"));
    }
    const batches: string[] = [];
    for (; b < end; b += 4 + bytes.readUInt32LE(b))
      batches.push(bytes.subarray(b + 4, b + 4 + bytes.readUInt32LE(b)).toString("hex"));
    rows.push({ scope: bytes.toString("latin1", at + 4, zero), peers, batches });
    at = end;
  }
  return [];
}

describe("the list of scopes for the gate's helper", () => {
  test("names each scope that has addresses, its addresses, and the batches that close the gate", () => {
    const batch = Buffer.from(killedSetBatch("add", ["10.0.0.1", "fd00::1"])).toString("hex");
    const peers = ["0a000001", `fd00${"0".repeat(27)}1`];
    expect(read(gateTable(SCOPES))).toEqual([{ scope: "agent/a/b", peers, batches: [batch] }]);
  });

  test("has more batches where one would not be taken", () => {
    const many = Array.from(
      { length: BATCH_ADDRESSES_MAX + 1 },
      (_, i) => `fd00::${i.toString(16)}`,
    );
    expect(read(gateTable(new Map([["global", many]])))[0]?.batches).toHaveLength(2);
  });
});

function keeperOf() {
  const clock = twinClock();
  const runs: { told: Uint8Array[]; ready: () => void; end: (why: string) => void }[] = [];
  const states: (string | undefined)[] = [];
  const helper = { reads: true };
  const keeper = new GateHelperKeeper({
    clock,
    start: (on) => {
      const told: Uint8Array[] = [];
      runs.push({ told, ...on });
      return {
        tell: (bytes) => helper.reads && told.push(bytes) > 0,
        stop: () => on.end("it ended with SIGKILL"),
      };
    },
    onState: (why) => states.push(why),
  });
  return { keeper, clock, runs, states, helper };
}

describe("the gate's helper", () => {
  test("H1: knows the scopes before it is said to run, and after each change", async () => {
    const { keeper, runs, states } = keeperOf();
    keeper.setScopes(SCOPES);
    const started = keeper.start();
    expect(runs[0]?.told).toEqual([gateTable(SCOPES)]);
    expect(keeper.isRunning).toBe(false);
    runs[0]?.ready();
    await started;
    expect([keeper.isRunning, states]).toEqual([true, [undefined]]);
    keeper.setScopes(new Map());
    expect(runs[0]?.told.at(-1)).toEqual(gateTable(new Map()));
  });

  test("H2: one that ends is started again with all it must know, and is missed once", async () => {
    const { keeper, clock, runs, states } = keeperOf();
    const started = keeper.start();
    runs[0]?.end("spawn altrace-gate ENOENT");
    await started;
    keeper.setScopes(SCOPES);
    clock.advance(1_000);
    runs[1]?.end("spawn altrace-gate ENOENT");
    clock.advance(1_000);
    expect(states).toEqual(["spawn altrace-gate ENOENT"]);
    expect(runs[2]?.told).toEqual([gateTable(SCOPES)]);
    runs[2]?.ready();
    expect(keeper.isRunning).toBe(true);
    keeper.stop();
    clock.advance(10_000);
    expect(runs).toHaveLength(3);
  });

  test("one that does not read what it is told is replaced", () => {
    const { keeper, clock, runs, helper } = keeperOf();
    void keeper.start();
    runs[0]?.ready();
    helper.reads = false;
    keeper.setScopes(SCOPES);
    expect(keeper.isRunning).toBe(false);
    helper.reads = true;
    clock.advance(1_000);
    expect(runs[1]?.told).toEqual([gateTable(SCOPES)]);
  });
});
