import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import type { Clock } from "../../ports/clock.ts";
import { twinClock } from "../../ports/twin-clock.ts";

/** A clock, and the way to let time pass on it. */
type Ticking = { readonly clock: Clock; elapse(ms: number): Promise<void> };

const CLOCKS: { readonly [name: string]: () => Ticking } = {
  "the machine": () => ({ clock: systemClock, elapse: (ms) => sleep(ms) }),
  twin: () => {
    const clock = twinClock();
    return { clock, elapse: async (ms) => clock.advance(ms) };
  },
};

const toNs = (ms: number): bigint => BigInt(ms) * 1_000_000n;

describe.each(Object.entries(CLOCKS))("clock of %s", (_name, open) => {
  test("the monotonic clock goes on with time and never back", async () => {
    const { clock, elapse } = open();
    let before = clock.monoNs();
    for (let n = 0; n < 1_000; n += 1) {
      const now = clock.monoNs();
      expect(now >= before).toBe(true);
      before = now;
    }
    await elapse(20);
    expect(clock.monoNs() - before >= toNs(18)).toBe(true);
  });

  test("the wall clock counts whole milliseconds since 1970", () => {
    const { clock } = open();
    expect(Number.isInteger(clock.nowMs())).toBe(true);
    expect(clock.nowMs()).toBeGreaterThan(Date.UTC(2024, 0, 1));
  });

  test("a timer fires once, not before its delay", async () => {
    const { clock, elapse } = open();
    for (const delayMs of [0, 1, 7, 30]) {
      const startNs = clock.monoNs();
      const firedNs: bigint[] = [];
      clock.after(delayMs, () => firedNs.push(clock.monoNs()));
      await elapse(delayMs + 30);
      expect(firedNs).toHaveLength(1);
      expect((firedNs[0] as bigint) - startNs >= toNs(delayMs)).toBe(true);
    }
  });

  test("a timer never fires within the call that sets it", async () => {
    const { clock, elapse } = open();
    for (const delayMs of [0, -5]) {
      let hasReturned = false;
      let firedAfter: boolean | undefined;
      clock.after(delayMs, () => {
        firedAfter = hasReturned;
      });
      hasReturned = true;
      await elapse(20);
      expect(firedAfter).toBe(true);
    }
  });

  test("a stopped timer does not fire, and stopping again or late does nothing", async () => {
    const { clock, elapse } = open();
    const fired: string[] = [];
    const stop = clock.after(10, () => fired.push("stopped"));
    const stopLate = clock.after(10, () => fired.push("late"));
    stop();
    stop();
    await elapse(40);
    stopLate();
    expect(fired).toEqual(["late"]);
  });

  test("timers fire in the order they are due", async () => {
    const { clock, elapse } = open();
    const fired: number[] = [];
    for (const ms of [45, 5, 25]) clock.after(ms, () => fired.push(ms));
    await elapse(80);
    expect(fired).toEqual([5, 25, 45]);
  });

  test("a delay of more than 24 days does not fire at once, nor is it cut to one", async () => {
    const { clock, elapse } = open();
    const warnings: string[] = [];
    process.on("warning", ({ name }) => warnings.push(name));
    let fired = 0;
    const stops = [2 ** 31, 2 ** 40].map((ms) =>
      clock.after(ms, () => {
        fired += 1;
      }),
    );
    await elapse(30);
    for (const stop of stops) stop();
    expect([fired, warnings]).toEqual([0, []]);
  });
});

describe("the machine's clock alone", () => {
  const adapter = JSON.stringify(new URL("../../adapters/system-clock.ts", import.meta.url).href);

  test("it is one for all threads", async () => {
    const program = `import { parentPort } from "node:worker_threads";
      import { systemClock } from ${adapter};
      parentPort.postMessage(systemClock.monoNs());`;
    const before = systemClock.monoNs();
    const source = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
    const worker = new Worker(source);
    const [inWorker] = (await once(worker, "message")) as [bigint];
    await worker.terminate();
    expect(inWorker > before && inWorker < systemClock.monoNs()).toBe(true);
  });

  test("a pending timer does not keep the process alive", () => {
    const program = `import { systemClock } from ${adapter};
      systemClock.after(3_600_000, () => undefined);
      console.log("set");`;
    const options = { encoding: "utf8", timeout: 20_000 } as const;
    const arguments_ = ["--input-type=module", "-e", program];
    expect(execFileSync(process.execPath, arguments_, options)).toBe("set\n");
  });
});

describe("the twin alone", () => {
  test("time stands still until it is moved, and timers see the moment they are due", () => {
    const clock = twinClock({ nowMs: 1_000, monoNs: 5_000_000n });
    const seen: [number, bigint][] = [];
    clock.after(10, () => seen.push([clock.nowMs(), clock.monoNs()]));
    expect([clock.nowMs(), clock.monoNs()]).toEqual([1_000, 5_000_000n]);
    clock.advance(9);
    expect(seen).toEqual([]);
    clock.advance(5);
    expect(seen).toEqual([[1_010, 15_000_000n]]);
    expect([clock.nowMs(), clock.monoNs()]).toEqual([1_014, 19_000_000n]);
  });

  test("a timer that is set by a timer fires in the same move if it is due in it", () => {
    const clock = twinClock();
    const fired: string[] = [];
    clock.after(5, () => {
      fired.push("first");
      clock.after(5, () => fired.push("second"));
      clock.after(6, () => fired.push("third"));
    });
    clock.advance(10);
    expect(fired).toEqual(["first", "second"]);
    expect(clock.pendingTimers).toBe(1);
  });

  test("a jump of the wall clock moves no timer and not the monotonic clock", () => {
    const clock = twinClock({ nowMs: 10_000 });
    const startNs = clock.monoNs();
    let fired = 0;
    clock.after(100, () => {
      fired += 1;
    });
    clock.jumpWall(-5_000);
    expect(clock.nowMs()).toBe(5_000);
    clock.jumpWall(3_600_000);
    clock.advance(99);
    expect([fired, clock.monoNs() - startNs]).toEqual([0, 99_000_000n]);
    clock.advance(1);
    expect(fired).toBe(1);
  });

  test("which of several timers due at one moment is first, the test draws", () => {
    const order = (draw: (count: number) => number): string => {
      const clock = twinClock({ draw });
      const fired: string[] = [];
      for (const name of ["a", "b", "c"]) clock.after(5, () => fired.push(name));
      clock.advance(5);
      return fired.join("");
    };
    expect(order(() => 0)).toBe("abc");
    expect(order((count) => count - 1)).toBe("cba");
  });
});
