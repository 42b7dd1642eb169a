import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import {
  createPiscinaCompute,
  type PiscinaComputeOptions,
} from "../../../adapters/piscina-compute.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { type Compute, ComputeFault } from "../../../ports/compute.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { comesTrue } from "../../support/comes-true.ts";
import type { Task } from "./compute-tasks.ts";

const LONG_MS = 60_000;

let pools: Compute<Task, unknown>[] = [];

afterEach(async () => {
  await Promise.all(pools.map((pool) => pool.close()));
  pools = [];
});

function compute(over: Partial<PiscinaComputeOptions<Task>> = {}): Compute<Task, unknown> {
  const pool = createPiscinaCompute<Task, unknown>({
    clock: systemClock,
    workerFile: fileURLToPath(new URL("./compute-tasks.ts", import.meta.url)),
    exportName: "runTask",
    threads: 1,
    queueMax: 4,
    heapMbMax: 64,
    youngMbMax: 8,
    handOver: (task) => (task.do === "reverse" ? [task.bytes.buffer] : []),
    ...over,
  });
  pools.push(pool);
  return pool;
}

function flag(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4));
}

function set(one: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(one, 0, 1);
  Atomics.notify(one, 0);
}

describe("work", () => {
  test("is done in another thread, whose environment says where programs are compiled, and no more", async () => {
    const pool = compute();
    expect(await pool.run({ do: "add", numbers: [1, 2, 39] }, LONG_MS)).toBe(42);
    // Whoever runs the tests has more in theirs.
    expect(Object.keys(process.env).length).toBeGreaterThan(1);
    expect(await pool.run({ do: "environment" }, LONG_MS)).toEqual(["NODE_COMPILE_CACHE"]);
  });

  test("takes over the bytes of its input and gives its own away", async () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const result = await compute().run({ do: "reverse", bytes }, LONG_MS);
    expect(result).toEqual({ bytes: Uint8Array.of(3, 2, 1) });
    expect(bytes.length).toBe(0);
  });

  test("that throws is a fault with its cause, and its thread goes on", async () => {
    const pool = compute();
    const thread = await pool.run({ do: "which_thread" }, LONG_MS);
    const fault = await pool.run({ do: "throw" }, LONG_MS).catch((caught: unknown) => caught);
    expect(fault).toBeInstanceOf(ComputeFault);
    expect(fault).toMatchObject({ code: "failed", cause: { message: "out of order" } });
    expect(await pool.run({ do: "which_thread" }, LONG_MS)).toBe(thread);
  });
});

describe("a deadline", () => {
  test("ends a worker that hangs, and another takes its place", async () => {
    const clock = twinClock();
    const pool = compute({ clock });
    const thread = await pool.run({ do: "which_thread" }, LONG_MS);
    const begun = flag();
    const hung = pool.run({ do: "hang", flag: begun }, 100).catch((fault: unknown) => fault);
    await comesTrue(() => expect(Atomics.load(begun, 0)).toBe(1));
    clock.advance(100);
    expect(await hung).toMatchObject({ code: "deadline" });
    const next = await pool.run({ do: "which_thread" }, LONG_MS);
    expect(next).not.toBe(thread);
  });

  test("of a task that only waits ends nobody's worker", async () => {
    const clock = twinClock();
    const pool = compute({ clock });
    const thread = await pool.run({ do: "which_thread" }, LONG_MS);
    const busy = flag();
    const first = pool.run({ do: "wait", flag: busy }, LONG_MS);
    const second = pool.run({ do: "add", numbers: [1] }, 100).catch((fault: unknown) => fault);
    clock.advance(100);
    expect(await second).toMatchObject({ code: "deadline" });
    set(busy);
    expect(await first).toBe("done");
    expect(await pool.run({ do: "which_thread" }, LONG_MS)).toBe(thread);
  });

  test("that is met leaves no timer behind", async () => {
    const clock = twinClock();
    await compute({ clock }).run({ do: "add", numbers: [] }, 100);
    expect(clock.pendingTimers).toBe(0);
  });
});

test("a full queue says so at once", async () => {
  const pool = compute({ queueMax: 1 });
  await pool.run({ do: "add", numbers: [] }, LONG_MS);
  const busy = flag();
  const running = pool.run({ do: "wait", flag: busy }, LONG_MS);
  const waiting = pool.run({ do: "add", numbers: [7] }, LONG_MS);
  const third = await pool.run({ do: "add", numbers: [] }, LONG_MS).catch((fault) => fault);
  expect(third).toMatchObject({ code: "busy" });
  set(busy);
  expect(await Promise.all([running, waiting])).toEqual(["done", 7]);
});
