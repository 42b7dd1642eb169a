import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import {
  createWalSignal,
  openWalSignal,
  positionOf,
  publishPosition,
  sleepUntilFrames,
  wake,
} from "../../../../node/audit/wal-signal.ts";

const LONG_MS = 60_000;

describe("a position", () => {
  test("is seen whole by whoever has the buffer", () => {
    const signal = createWalSignal(3);
    const far = { fileNo: 2_000_000, bytes: 2 ** 32 - 1 };
    publishPosition(signal, 1, far);
    const other = openWalSignal(signal.buffer);
    expect(positionOf(other, 1)).toEqual(far);
    expect(positionOf(other, 0)).toEqual({ fileNo: 0, bytes: 0 });
    expect(positionOf(other, 2)).toEqual({ fileNo: 0, bytes: 0 });
  });

  test("of a writer that there is not trips an assertion", () => {
    const signal = createWalSignal(3);
    expect(() => positionOf(signal, 3)).toThrow(/writer 3/);
    expect(() => publishPosition(signal, -1, { fileNo: 1, bytes: 0 })).toThrow(/writer -1/);
  });
});

describe("a sleep", () => {
  test("ends when another thread publishes", async () => {
    const signal = createWalSignal(1);
    const sleeping = sleepUntilFrames(signal, () => false, LONG_MS);
    const code = `
      const { workerData } = require("node:worker_threads");
      import(workerData.module).then(({ openWalSignal, publishPosition }) =>
        publishPosition(openWalSignal(workerData.buffer), 0, { fileNo: 1, bytes: 7 }));`;
    const module = new URL("../../../../node/audit/wal-signal.ts", import.meta.url).href;
    const worker = new Worker(code, { eval: true, workerData: { module, buffer: signal.buffer } });
    await Promise.all([sleeping, once(worker, "exit")]);
    expect(positionOf(signal, 0)).toEqual({ fileNo: 1, bytes: 7 });
  });

  test("does not begin when there is news", async () => {
    await sleepUntilFrames(createWalSignal(1), () => true, LONG_MS);
  });

  test("does not begin when a frame is published while it begins", async () => {
    const signal = createWalSignal(1);
    const publishing = (): boolean => {
      publishPosition(signal, 0, { fileNo: 1, bytes: 1 });
      return false;
    };
    await sleepUntilFrames(signal, publishing, LONG_MS);
  });

  test("ends when it is woken", async () => {
    const signal = createWalSignal(1);
    const sleeping = sleepUntilFrames(signal, () => false, LONG_MS);
    wake(signal);
    await sleeping;
  });

  test("ends by itself", async () => {
    await sleepUntilFrames(createWalSignal(1), () => false, 1);
  });
});
