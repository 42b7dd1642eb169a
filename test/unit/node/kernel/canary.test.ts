import { createConnection } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  askCanary,
  attemptTarget,
  canaryEars,
  serveCanary,
} from "../../../../adapters/canary-sockets.ts";
import { cryptoRandom } from "../../../../adapters/crypto-random.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { CanaryRounds, readCanaryQuestion } from "../../../../node/kernel/canary.ts";

describe("a canary, with nothing in its way", () => {
  let rounds: CanaryRounds;
  let heard: string[];
  let ears: Awaited<ReturnType<typeof canaryEars>>;
  let canary: Awaited<ReturnType<typeof serveCanary>>;

  beforeEach(async () => {
    heard = [];
    ears = await canaryEars(0, (word) => {
      heard.push(word);
      rounds.hear(word);
    });
    canary = await serveCanary(0, async (message) => {
      const question = readCanaryQuestion(message);
      if (!question) return undefined;
      const { word, ways } = question;
      return { saw: await Promise.all(ways.map((way) => attemptTarget(way, word))) };
    });
    rounds = new CanaryRounds({
      clock: systemClock,
      random: cryptoRandom,
      machineAddresses: () => ["127.0.0.1"],
      port: ears.port,
      ask: (address, question) => askCanary(address, canary.port, question, 5_000),
      settleMs: 100,
    });
  });
  afterEach(() => {
    ears.close();
    canary.close();
  });

  test("gets out on every way, and each is told", async () => {
    const wrong = await rounds.round(["127.0.0.1"]);
    expect(new Set(wrong.map(({ rc }) => rc))).toEqual(new Set(["kernel_bypass"]));
    expect(wrong.map(({ what }) => what).sort()).toEqual([
      `a canary reached 127.0.0.1:${ears.port} over tcp`,
      `a canary reached 127.0.0.1:${ears.port} over udp`,
    ]);
    expect(heard.length).toBe(2);
  });

  test("is judged by words of this round alone: anybody may say others", async () => {
    const socket = createConnection({ host: "127.0.0.1", port: ears.port });
    socket.end("00000000-0000-7000-8000-000000000000\n");
    await new Promise<void>((resolve) => socket.on("close", () => resolve()));
    canary.close();
    expect(await rounds.round(["127.0.0.1"])).toEqual([
      { rc: "kernel_canary_silent", what: "the canary at 127.0.0.1 does not answer" },
    ]);
    expect(heard.length).toBe(1);
  });

  test("that is not there proves nothing, and that is wrong as well", async () => {
    expect(await rounds.round([])).toEqual([
      { rc: "kernel_canary_silent", what: "no canary tries to get out of this machine" },
    ]);
  });

  test.each([
    undefined,
    {},
    { word: "x", ways: [] },
    { word: "0".repeat(36), ways: [{ by: "exec", host: "127.0.0.1", port: 1 }] },
    { word: "0".repeat(36), ways: [{ by: "tcp", host: "evil.example", port: 1 }] },
    { word: "0".repeat(36), ways: [{ by: "tcp", host: "127.0.0.1", port: 0 }] },
    { word: "0".repeat(36), ways: new Array(65).fill({ by: "tcp", host: "::1", port: 1 }) },
  ])("does nothing for a question such as %j", (message) => {
    expect(readCanaryQuestion(message)).toBeUndefined();
  });
});
