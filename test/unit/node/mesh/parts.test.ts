import { setImmediate as nextTurn } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { createBusHub } from "../../../../adapters/in-process-bus.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { seal } from "../../../../mesh/sealed.ts";
import { TrustView } from "../../../../mesh/trust.ts";
import { ALARM_LINES_PER_SECOND, alarmLog } from "../../../../node/mesh/alarm-log.ts";
import { openHostStall } from "../../../../node/mesh/host-stall.ts";
import { type Arrival, Intake, QUEUED_BYTES_MAX, SLICE_NS } from "../../../../node/mesh/intake.ts";
import { LoopPorts } from "../../../../node/mesh/loop-ports.ts";
import { Requests, type RequestsDeps } from "../../../../node/mesh/requests.ts";
import { SLEEP_MS_MIN, SleepWatch } from "../../../../node/mesh/sleep-watch.ts";
import { awaitKillReading } from "../../../../node/table/kill-reading.ts";
import { createTable } from "../../../../node/table/table.ts";
import type { LoopToMesh, MeshToLoop } from "../../../../node/thread-messages.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import {
  type NodeReply,
  NodeReplySchema,
  NodeRequestSchema,
  NonceReplySchema,
  NonceRequestSchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { MESH, noStall, openNode, settle, signers, verify, World } from "./mesh-world.ts";

const smallTable = () => createTable({ rows: 1, loops: 1, scopes: 1, writers: 1, proofs: 64 });

describe("intake", () => {
  const message = (subject: string, size = 1) => ({ subject, bytes: new Uint8Array(size) });

  function intakeOf(costMs: number) {
    const clock = twinClock();
    const taken: string[] = [];
    const turns: (() => void)[] = [];
    let overflows = 0;
    const table = smallTable();
    const intake = new Intake({
      table,
      clock,
      stall: noStall,
      nextTurn: () => new Promise((resolve) => turns.push(resolve)),
      take: ({ subject }: Arrival) => {
        taken.push(subject);
        clock.advance(costMs);
      },
      overflow: () => {
        overflows++;
      },
    });
    const turn = async (): Promise<void> => {
      for (const resolve of turns.splice(0)) resolve();
      await Promise.resolve();
      await Promise.resolve();
    };
    return { intake, taken, turn, overflows: () => overflows };
  }

  test("while a kill is read nothing may go upstream, and a fault of the reading ends that too", () => {
    const table = smallTable();
    const waits: boolean[] = [];
    const intake = new Intake({
      table,
      clock: twinClock(),
      stall: noStall,
      nextTurn: () => new Promise(() => undefined),
      take: () => {
        // Long after: one that is still being read then is doubt.
        waits.push(!awaitKillReading(table, () => 1_000_000_000_000n));
        if (waits.length === 2) throw new Error("a bug");
      },
      overflow: () => undefined,
    });
    intake.push(message("alt.fast.kill.global"));
    expect(() => intake.push(message("alt.fast.kill.team.a"))).toThrow("a bug");
    expect(awaitKillReading(table, () => 1_000_000_000_000n)).toBe(true);
    intake.push(message("alt.bc.policy"));
    expect(waits).toEqual([true, true, false]);
  });

  test("a message that comes alone is taken within the callback", () => {
    const { intake, taken } = intakeOf(1);
    intake.push(message("alt.fast.kill.global"));
    expect(taken).toEqual(["alt.fast.kill.global"]);
  });

  test("a burst of others is taken in slices, with turns of other events between", async () => {
    const sliceMs = Number(SLICE_NS) / 1e6;
    const { intake, taken, turn } = intakeOf(sliceMs / 2);
    for (let i = 0; i < 5; i++) intake.push(message(`alt.bc.key.k${i}`));
    expect(taken.length).toBe(2);
    await turn();
    expect(taken.length).toBe(4);
    await turn();
    expect(taken.length).toBe(5);
  });

  test("a kill is taken within the callback, however much else waits", () => {
    const { intake, taken } = intakeOf(1);
    for (const subject of ["alt.bc.policy", "alt.bc.key.a", "alt.bc.key.b"]) {
      intake.push(message(subject));
    }
    intake.push(message("alt.fast.kill.global"));
    intake.push(message("alt.fast.kill.team.a"));
    expect(taken).toEqual(["alt.bc.policy", "alt.fast.kill.global", "alt.fast.kill.team.a"]);
  });

  test("what a kill leaves to do comes after it, before others, and in order", async () => {
    const clock = twinClock();
    const order: string[] = [];
    const turns: (() => void)[] = [];
    const intake: Intake = new Intake({
      table: smallTable(),
      clock,
      stall: noStall,
      nextTurn: () => new Promise((resolve) => turns.push(resolve)),
      take: ({ subject }) => {
        intake.defer(() => order.push(`after ${subject}`));
        order.push(subject);
        clock.advance(1);
      },
      overflow: () => undefined,
    });
    for (const subject of ["alt.fast.kill.team.a", "alt.bc.policy", "alt.fast.kill.team.b"]) {
      intake.push(message(subject));
    }
    for (let i = 0; i < 4; i++) {
      for (const resolve of turns.splice(0)) resolve();
      await settle(1);
    }
    expect(order).toEqual([
      "alt.fast.kill.team.a",
      "alt.fast.kill.team.b",
      "after alt.fast.kill.team.a",
      "after alt.fast.kill.team.b",
      "alt.bc.policy",
      "after alt.bc.policy",
    ]);
  });

  test("what does not fit is dropped, and said so", () => {
    const { intake, taken, overflows } = intakeOf(1);
    intake.push(message("alt.bc.policy"));
    intake.push(message("alt.bc.policy", QUEUED_BYTES_MAX));
    expect(overflows()).toBe(0);
    intake.push(message("alt.bc.policy"));
    expect(overflows()).toBe(1);
    expect(taken.length).toBe(1);
  });
});

describe("requests", () => {
  const nonce = { case: "nonce" as const, value: create(NonceRequestSchema, {}) };
  const options = { timeoutMs: 100 };

  /** What comes back when the control plane answers with these bytes. */
  async function answeredBy(answer: (requestId: string) => Uint8Array, over = {}) {
    const world = new World();
    await world.found();
    const trust = new TrustView({ mesh: MESH, operatorPublicKey: signers.operator.publicKey });
    trust.learn(world.state.get("trust") as never);
    const deps: RequestsDeps = {
      node: "node-1",
      bootId: "boot",
      bus: world.hub.connect(),
      signer: signers.stranger,
      trust,
      verify,
      clock: world.clock,
      random: twinRandom(3),
      ...over,
    };
    const requests = new Requests(deps);
    const id = requests.newId();
    world.bus.listen("alt.req.node-1.nonce", ({ respond }) => respond?.(answer(id)));
    return requests.ask(nonce, { ...options, requestId: id });
  }

  const reply = (over: Partial<NodeReply>, signer = signers.coordinator) => {
    const body = { case: "nonce" as const, value: create(NonceReplySchema, {}) };
    const message = create(NodeReplySchema, { body, ...(over as object) });
    return seal("reply", toBinary(NodeReplySchema, message), signer);
  };

  test("an answer that a coordinator sealed for this request counts", async () => {
    const result = await answeredBy((requestId) => reply({ requestId }));
    expect(result).toHaveProperty("reply");
  });

  test("an answer that anybody else sealed, or none, does not", async () => {
    for (const signer of [signers.stranger, signers.enrolment, signers.operator]) {
      const result = await answeredBy((requestId) => reply({ requestId }, signer));
      expect(result).toEqual({ fault: "reply_untrusted" });
    }
    expect(await answeredBy(() => new Uint8Array(3))).toEqual({ fault: "reply_untrusted" });
  });

  test("an answer to another request, or of another kind, does not", async () => {
    expect(await answeredBy(() => reply({ requestId: "other" }))).toEqual({
      fault: "reply_mismatch",
    });
    const state = { case: "state" as const, value: {} };
    const wrong = await answeredBy((requestId) => reply({ requestId, body: state as never }));
    expect(wrong).toEqual({ fault: "reply_mismatch" });
  });

  test("a request that names another node or another method is not passed on", async () => {
    const { node } = await openNode();
    const bytes = (of: string) =>
      toBinary(NodeRequestSchema, create(NodeRequestSchema, { node: of, body: nonce }));
    const { requests } = node.replica;
    expect(await requests.forward("nonce", bytes("node-2"), 100)).toEqual({ fault: "malformed" });
    expect(await requests.forward("lease", bytes("node-1"), 100)).toEqual({ fault: "malformed" });
    expect(await requests.forward("nonce", new Uint8Array([255]), 100)).toEqual({
      fault: "malformed",
    });
    expect(await requests.forward("nonce", bytes("node-1"), 100)).toHaveProperty("answer.bytes");
  });

  test("nobody there is a fault, not an exception", async () => {
    const bus = createBusHub(undefined).connect();
    expect(await answeredBy(() => new Uint8Array(0), { bus })).toEqual({ fault: "no_responders" });
    await bus.close();
    expect(await answeredBy(() => new Uint8Array(0), { bus })).toEqual({ fault: "closed" });
  });
});

describe("loops", () => {
  const resolve = () => ({ refused: "key_unknown" as const });

  function loopsOf(count: number) {
    const clock = twinClock();
    const delegate = async () => ({ refused: "contract_unavailable" as const, detail: "" });
    const loops = new LoopPorts({ clock, resolve, delegate, onRow: () => undefined });
    const heard: MeshToLoop[][] = [];
    const ends = Array.from({ length: count }, (_, loop) => {
      const { port1, port2 } = new MessageChannel();
      loops.add(loop, port1);
      const mine: MeshToLoop[] = [];
      heard.push(mine);
      port2.on("message", (message: MeshToLoop) => mine.push(message));
      return port2;
    });
    const say = (loop: number, message: LoopToMesh) => ends[loop]?.postMessage(message);
    return { loops, ends, heard, say, clock };
  }

  const idOf = (message: MeshToLoop | undefined): number =>
    message !== undefined && "id" in message ? message.id : -1;
  const hears = async (isSo: () => boolean): Promise<void> => {
    for (let i = 0; i < 2_000 && !isSo(); i++) await nextTurn();
    expect(isSo()).toBe(true);
  };

  test("what is void of a key is told to every loop, before what is told next", async () => {
    const { loops, heard } = loopsOf(2);
    loops.forget("k1");
    loops.cut(
      { by: "agent", scope: "agent/research/worker-1", isGated: false, contracts: [] },
      () => undefined,
    );
    await hears(() => heard.every((mine) => mine.length === 2));
    for (const mine of heard) {
      expect(mine[0]).toEqual({ t: "forget", keySha256: "k1" });
      expect(mine[1]?.t).toBe("cut");
    }
    loops.close();
  });

  test("a cut is done when the last loop says so, with the sum of what was cut", async () => {
    const { loops, heard, say } = loopsOf(2);
    const done: [number, bigint][] = [];
    const kill = { by: "team", scope: "team/red", isGated: true, contracts: ["c"] } as const;
    loops.cut(kill, (count, atNs) => done.push([count, atNs]));
    await hears(() => heard.every((mine) => mine.length === 1));
    expect(heard[0]?.[0]).toMatchObject({ t: "cut", ...kill });
    const id = idOf(heard[0]?.[0]);
    say(0, { t: "cut_done", id, count: 4, atNs: 900n });
    say(0, { t: "cut_done", id, count: 4, atNs: 900n });
    await settle();
    expect(done).toEqual([]);
    say(1, { t: "cut_done", id, count: 3, atNs: 700n });
    await hears(() => done.length === 1);
    expect(done).toEqual([[7, 900n]]);
    loops.close();
  });

  test("without loops there is nothing to cut, and that is said later, not from within", async () => {
    const { loops } = loopsOf(0);
    let done = -1;
    loops.cut({ by: "global", scope: "global", isGated: true, contracts: [] }, (count) => {
      done = count;
    });
    expect(done).toBe(-1);
    await settle(1);
    expect(done).toBe(0);
  });

  test("a loop that has ended is not waited for", async () => {
    const { loops, ends, heard, say } = loopsOf(2);
    let done = -1;
    loops.cut({ by: "global", scope: "global", isGated: true, contracts: [] }, (count) => {
      done = count;
    });
    await hears(() => heard.every((mine) => mine.length === 1));
    const id = idOf(heard[0]?.[0]);
    say(0, { t: "cut_done", id, count: 2, atNs: 5n });
    ends[1]?.close();
    await hears(() => done === 2);
    loops.close();
  });

  test("a question about a key is answered to the loop that asked", async () => {
    const { loops, heard, say } = loopsOf(2);
    say(1, { t: "resolve", id: 77, keySha256: "00", source: "x" });
    await hears(() => heard[1]?.length === 1);
    expect(heard[1]).toEqual([{ t: "resolved", id: 77, grant: undefined, refused: "key_unknown" }]);
    expect(heard[0]).toEqual([]);
    loops.close();
  });
});

describe("host", () => {
  test("a machine that slept is noticed once, and time that merely passed is not", () => {
    const clock = twinClock();
    let asleepMs = 0;
    const bootMs = () => Number(clock.monoNs()) / 1e6 + asleepMs;
    const watch = new SleepWatch({ bootMs, monoNs: clock.monoNs });
    clock.advance(3_600_000);
    expect(watch.hasSlept()).toBe(false);
    asleepMs += SLEEP_MS_MIN + 1;
    expect(watch.hasSlept()).toBe(true);
    expect(watch.hasSlept()).toBe(false);
  });

  test("a pause of the collector within the window is told, and one outside it is not", async () => {
    const { gc } = globalThis as { gc?: () => void };
    const stall = openHostStall(systemClock);
    const before = stall.mark(systemClock.monoNs());
    const quiet = stall.until(before, systemClock.monoNs());
    const mark = stall.mark(systemClock.monoNs());
    if (gc) gc();
    else churn();
    const window = stall.until(mark, systemClock.monoNs());
    for (let i = 0; i < 50 && stall.longestNs(window) === 0n; i++) await nextTurn();
    expect(stall.longestNs(window)).toBeGreaterThan(0n);
    expect(stall.longestNs({ ...quiet, runDelayNs: 0n })).toBe(0n);
    stall.close();
  });

  test("alarms of one kind are a few lines a second, and the rest is counted", () => {
    const clock = twinClock({ monoNs: 1_000_000_000n });
    const lines: { alarm: string; left: number }[] = [];
    const alarm = alarmLog(clock, (line) => lines.push(line));
    for (let i = 0; i < 100; i++) alarm("record_refused", "x");
    alarm("store_failed", "y");
    expect(lines.length).toBe(ALARM_LINES_PER_SECOND + 1);
    clock.advance(1_000);
    alarm("record_refused", "x");
    expect(lines.at(-1)).toMatchObject({ left: 100 - ALARM_LINES_PER_SECOND });
  });
});

/** Makes so much garbage that the collector has to run. */
function churn(): void {
  let kept: unknown[] = [];
  for (let i = 0; i < 2_000_000; i++) {
    kept.push({ i });
    if (kept.length > 10_000) kept = [];
  }
}
