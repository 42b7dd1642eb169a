import { describe, expect, test } from "vitest";
import { encodeLeaf } from "../../../audit/leaf.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { KernelWatch } from "../../../node/kernel-watch.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import type { KernelFault } from "../../../proto/kernel-faults.ts";

const BYPASS: KernelFault = { rc: "kernel_bypass", what: "a canary reached 10.9.0.2:14055" };
const RULES: KernelFault = { rc: "kernel_rules_down", what: "rules were changed or removed" };

function watched() {
  const clock = twinClock({ nowMs: 1_000 });
  const records: AuditRecord[] = [];
  const changes: number[] = [];
  const watch = new KernelWatch({
    node: "n1",
    clock,
    append: (record) => {
      encodeLeaf(record);
      records.push(record);
    },
    onChange: (faults) => changes.push(faults.length),
  });
  const codes = () => records.map((one) => (one.k === "kernel" ? (one.wrong ?? []).join() : ""));
  return { clock, watch, records, changes, codes };
}

describe("the node's view of its kernel layer", () => {
  test("W1: is that it must not be relied on, until the enforcer says otherwise", () => {
    const { watch, changes } = watched();
    expect(watch.codes()).toEqual(["kernel_gate_lost"]);
    watch.note([]);
    expect(watch.codes()).toEqual([]);
    expect(changes).toEqual([0]);
  });

  test("W2: is recorded when it changes, and only then", () => {
    const { watch, clock, records, codes } = watched();
    watch.note([]);
    clock.advance(5_000);
    watch.note([]);
    watch.note([BYPASS, { ...BYPASS, what: "a canary reached it over udp" }]);
    clock.advance(5_000);
    watch.note([BYPASS]);
    expect(codes()).toEqual(["", "kernel_bypass"]);
    expect(records[1]).toMatchObject({ rc: "kernel_bypass", node: "n1", t: 6_000 });
    watch.stop();
  });

  test("W2: what passed within a second is recorded all the same, a flapping layer twice a second", () => {
    const { watch, clock, codes } = watched();
    watch.note([]);
    for (let i = 0; i < 100; i++) {
      watch.note([RULES]);
      watch.note([]);
    }
    expect(codes()).toEqual([""]);
    clock.advance(1_000);
    expect(codes()).toEqual(["", "kernel_rules_down", ""]);
    watch.note([BYPASS]);
    clock.advance(1_000);
    watch.note([RULES]);
    clock.advance(1_000);
    expect(codes().slice(3)).toEqual(["kernel_bypass", "kernel_rules_down"]);
    watch.stop();
  });

  test("an error of many lines and any length makes a record that can be written", () => {
    const { watch, records } = watched();
    const long = { rc: "kernel_rules_down", what: `nft: "no"\n${"x".repeat(5_000)}` } as const;
    watch.note(Array.from({ length: 100 }, () => long));
    expect(records).toHaveLength(1);
  });
});
