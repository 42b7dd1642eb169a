import { createSocket } from "node:dgram";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { attemptWays } from "../../../../adapters/canary-attempts.ts";
import { askCanary, canaryEars, serveCanary } from "../../../../adapters/canary-sockets.ts";
import { cryptoRandom } from "../../../../adapters/crypto-random.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { CanaryRounds, readCanaryQuestion } from "../../../../node/kernel/canary.ts";
import { canaryWays, wordsOfWay } from "../../../../node/kernel/canary-ways.ts";

const WAY = { word: "0".repeat(36), by: "tcp", host: "127.0.0.1", port: 1 };

test("a machine whose port another program hears by has no ears, and says so", async () => {
  const other = createSocket("udp4");
  await new Promise<void>((resolve) => other.bind(0, "0.0.0.0", resolve));
  const { port } = other.address();
  const ears = () => canaryEars(port, () => undefined);
  await expect(ears()).rejects.toThrow("EADDRINUSE");
  await new Promise<void>((resolve) => other.close(resolve));
  // Nothing of the attempt is left in its way.
  (await ears()).close();
});

test("a canary that answers without an end has not answered", async () => {
  const server = createServer((socket) => {
    socket.resume();
    const drip = setInterval(() => socket.write(" "), 5);
    socket.on("error", () => undefined);
    socket.on("close", () => clearInterval(drip));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  expect(await askCanary("127.0.0.1", port, {}, 100)).toBeUndefined();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

describe("a canary, with nothing in its way", () => {
  let rounds: CanaryRounds;
  let heard: string[];
  let unable: string[];
  let ears: Awaited<ReturnType<typeof canaryEars>>;
  let canary: Awaited<ReturnType<typeof serveCanary>>;

  beforeEach(async () => {
    heard = [];
    unable = [];
    ears = await canaryEars(0, (word) => {
      heard.push(word);
      rounds.hear(word);
    });
    canary = await serveCanary(0, async (message) => {
      const question = readCanaryQuestion(message);
      if (!question) return undefined;
      const near = question.ways.map((way) =>
        way.by === "question" ? { ...way, host: "127.0.0.1" } : way,
      );
      return { saw: await attemptWays(near, "/no/such/program") };
    });
    rounds = new CanaryRounds({
      clock: systemClock,
      random: cryptoRandom,
      machineAddresses: () => ["127.0.0.1"],
      podsBeside: () => [],
      isKilled: () => false,
      port: ears.port,
      ask: (address, question) => askCanary(address, canary.port, question, 5_000),
      settleMs: 100,
      onUnable: (address, ways) => unable.push(`${address}: ${ways}`),
    });
  });
  afterEach(() => {
    ears.close();
    canary.close();
  });

  test("gets out on every way, and each is told", async () => {
    const all = await rounds.round(["127.0.0.1"]);
    // Those from the port of names take a right, those to everybody a link; a port has any digits.
    const wrong = all.filter(({ what }) => /^a canary reached 127[^ ]* over (?!.*from)/.test(what));
    expect(new Set(wrong.map(({ rc }) => rc))).toEqual(new Set(["kernel_bypass"]));
    expect(wrong.map(({ what }) => what).sort()).toEqual([
      `a canary reached 127.0.0.1:${ears.port} over tcp`,
      `a canary reached 127.0.0.1:${ears.port} over udp`,
      `a canary reached 127.0.0.1:${ears.port} over udp in fragments`,
    ]);
  });

  test("tries what filters let through for their looks, over both families", () => {
    let words = 0;
    const ways = canaryWays({
      hosts: ["10.0.0.1", "10.0.0.2", "fd00::1"],
      pods: ["10.77.0.11"],
      port: 9,
      newWord: () => `0000000${++words}`.slice(-8).padEnd(36, "0"),
    });
    const page = (at: string) => `what listens at ${at}, asked for a page`;
    const segments = ["fin", "null", "xmas", "syn-fin", "syn-ack"];
    expect(ways.map(wordsOfWay)).toEqual([
      ...["10.0.0.1:9 over tcp", "10.0.0.1:9 over udp"],
      ...["10.0.0.2:9 over tcp", "10.0.0.2:9 over udp"],
      ...["fd00::1:9 over tcp", "fd00::1:9 over udp"],
      ...["10.0.0.1:9 over tcp from port 53", "10.0.0.1:9 over udp from port 53"],
      "10.0.0.1:9 over udp in fragments",
      ...["fd00::1:9 over tcp from port 53", "fd00::1:9 over udp from port 53"],
      "fd00::1:9 over udp in fragments",
      ...["255.255.255.255:9 over udp", "224.0.0.1:9 over udp"],
      "ff02::1:9 over udp",
      ...["10.0.0.1", "fd00::1"].flatMap((host) =>
        [22, 4_091, 4_094, 10_250].map((port) => page(`${host}:${port}`)),
      ),
      ...["10.0.0.1", "fd00::1"].map((host) => `what listens at ${host}:14053, asked for a name`),
      ...["169.254.169.254:80", "fd00:ec2::254:80"].map(page),
      ...["spoofed", "options", "fragments", "loopback", "priority-tag", "echo", "protocol"].map(
        (form) => `10.0.0.1:9 by a packet (${form})`,
      ),
      ...segments.map((form) => `10.0.0.1:1 by a packet (${form})`),
      ...["spoofed", "fragments", "hop-by-hop", "destination", "routing", "atomic"].map(
        (form) => `fd00::1:9 by a packet (${form})`,
      ),
      ...["priority-tag", "echo", "protocol"].map((form) => `fd00::1:9 by a packet (${form})`),
      ...segments.map((form) => `fd00::1:1 by a packet (${form})`),
      ...["10.77.0.11:9 by a packet (echo)", "10.77.0.11:9 by a packet (protocol)"],
      "10.77.0.11:1 by a packet (fin)",
      "a resolver",
    ]);
    expect(readCanaryQuestion({ ways })).toEqual({ ways });
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

  test("is believed where a kernel or a resolver has answered it, and nowhere else", async () => {
    let how = "answered";
    const killed: boolean[] = [];
    const asked = new CanaryRounds({
      clock: systemClock,
      random: cryptoRandom,
      machineAddresses: () => ["10.0.0.1", "fd00::1"],
      podsBeside: (canary) => [canary.replace("12", "11"), "fd77::11", canary.replace("12", "13")],
      isKilled: () => killed.shift() ?? false,
      port: 9,
      ask: (_, { ways }) => Promise.resolve({ saw: ways.map(() => how) }),
      settleMs: 0,
      onUnable: (address, ways) => unable.push(`${address}: ${ways}`),
    });
    const told = async () =>
      (await asked.round(["10.77.0.12"])).map(({ what }) => what.replace("a canary reached ", ""));
    const replies = (host: string) =>
      ["echo", "protocol"].map((form) => `${host}:9 by a packet (${form})`);
    const resets = (host: string) =>
      ["fin", "null", "xmas", "syn-fin", "syn-ack"].map(
        (form) => `${host}:1 by a packet (${form})`,
      );
    const hosts = ["10.0.0.1", "fd00::1"];
    const all = await told();
    expect(all.filter((what) => what.startsWith("what listens"))).toHaveLength(12);
    // Another pod beside it in each round.
    expect(all.filter((what) => !what.startsWith("what listens"))).toEqual([
      ...hosts.flatMap((host) => [...replies(host), ...resets(host)]),
      ...["10.77.0.13", "fd77::11"].flatMap((pod) => [
        ...replies(pod),
        `${pod}:1 by a packet (fin)`,
      ]),
      "a resolver",
    ]);
    expect(await told()).toContain("10.77.0.11:9 by a packet (echo)");
    // One that is killed is reset by the rules, whether before it tries or meanwhile; what else answers counts.
    for (const when of [
      [true, false],
      [false, true],
    ]) {
      killed.splice(0, 2, ...when);
      const heardNow = await told();
      expect(heardNow.filter((what) => what.includes(":1 by"))).toEqual([]);
      expect(heardNow).toEqual(expect.arrayContaining(replies("10.0.0.1")));
    }
    for (how of ["EREFUSED", "unable", "unable", "silence"])
      expect(await asked.round(["10.77.0.12"])).toEqual([]);
    // What it could not try is told, once, and once it can.
    expect(unable).toEqual(["10.77.0.12: 58", "10.77.0.12: 0"]);
  });

  test("says of what it has no program for that it could not", async () => {
    await rounds.round(["127.0.0.1"]);
    expect(unable).toEqual(["127.0.0.1: 12"]);
  });

  test("that is not there proves nothing, and that is wrong as well", async () => {
    expect(await rounds.round([])).toEqual([
      { rc: "kernel_canary_silent", what: "no canary tries to get out of this machine" },
    ]);
  });

  test.each([
    undefined,
    {},
    { ways: [{ ...WAY, word: "x" }] },
    { ways: [{ ...WAY, by: "exec" }] },
    { ways: [{ ...WAY, host: "evil.example" }] },
    { ways: [{ ...WAY, port: 0 }] },
    { ways: [{ ...WAY, from: 65_536 }] },
    { ways: [{ ...WAY, bytes: 65_000 }] },
    { ways: [{ ...WAY, by: "packet" }] },
    { ways: [{ ...WAY, by: "packet", form: "routing" }] },
    { ways: [{ ...WAY, by: "packet", form: "echo", host: "x" }] },
    { ways: [{ ...WAY, by: "question" }] },
    { ways: [{ ...WAY, by: "question", for: "money" }] },
    { ways: [{ ...WAY, by: "question", for: "page", host: "evil.example" }] },
    { ways: [{ by: "name", word: "evil.example" }] },
    { ways: new Array(129).fill(WAY) },
  ])("does nothing for a question such as %j", (message) => {
    expect(readCanaryQuestion(message)).toBeUndefined();
    expect(readCanaryQuestion({ ways: [WAY] })).toBeDefined();
  });
});
