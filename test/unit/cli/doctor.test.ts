import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { probeDisk } from "../../../adapters/disk-probe.ts";
import { fileKeys } from "../../../adapters/file-keys.ts";
import { natsInfo } from "../../../adapters/nats-info.ts";
import { probePort } from "../../../adapters/port-probe.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { checkHome } from "../../../cli/doctor/check-home.ts";
import { judgeMesh, judgeNode } from "../../../cli/doctor/judge-daemons.ts";
import {
  judgeClock,
  judgeDisk,
  judgeFiles,
  judgeNats,
  judgePort,
  judgeRuntime,
} from "../../../cli/doctor/judge-host.ts";
import { judgeStreams } from "../../../cli/doctor/judge-streams.ts";
import {
  NodeStateSchema,
  StreamStateSchema,
} from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { GetNodeResponseSchema } from "../../../proto/gen/altrace/v1/node_service_pb.ts";

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "alt-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A server on a free port that says this to whoever comes. */
async function saying(text: string): Promise<number> {
  const server = createServer((socket) => socket.on("error", () => undefined).end(text));
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
}

describe("the host", () => {
  test.each([
    [judgeRuntime("26.1.0"), "ok"],
    [judgeRuntime("22.9.0"), "fail"],
    [judgeClock({ isClockKept: true, openFilesMax: 1 }), "ok"],
    [judgeClock({ isClockKept: false, openFilesMax: 1 }), "warn"],
    [judgeFiles({ isClockKept: true, openFilesMax: 65_536 }), "ok"],
    [judgeFiles({ isClockKept: true, openFilesMax: 4_096 }), "warn"],
    [judgeFiles({ isClockKept: true, openFilesMax: 256 }), "fail"],
    [judgeFiles({ isClockKept: true, openFilesMax: undefined }), "skip"],
  ])("%o is %s", (finding, state) => {
    expect(finding.state).toBe(state);
    expect(finding.todo === undefined).toBe(state === "ok" || state === "skip");
  });

  test("a slow disk warns, one that stalls or is full fails, and so does one that cannot be written", () => {
    const of = (p50: number, max: number, freeBytes = 1e12) =>
      judgeDisk({ syncMs: { p50, max }, freeBytes }).map(({ state }) => state);
    expect(of(2, 20)).toEqual(["ok", "ok"]);
    expect(of(60, 200)).toEqual(["warn", "ok"]);
    expect(of(2, 3_000)).toEqual(["fail", "ok"]);
    expect(of(2, 20, 1e9)).toEqual(["ok", "warn"]);
    expect(of(2, 20, 1e6)).toEqual(["ok", "fail"]);
    expect(judgeDisk("EROFS: read-only").map(({ state }) => state)).toEqual(["fail"]);
  });

  test("the disk is really written to, and nothing stays behind", () => {
    const home = folder();
    const { syncMs, freeBytes } = probeDisk(home, systemClock);
    expect(syncMs.max).toBeGreaterThan(0);
    expect(freeBytes).toBeGreaterThan(0);
    expect(() => probeDisk(join(home, "not-there"), systemClock)).toThrow("ENOENT");
    writeFileSync(join(home, "left"), "");
    expect(checkHome(home).some(({ says }) => says.includes("doctor"))).toBe(false);
  });

  test("a port is free, taken by us, or taken by somebody else", async () => {
    const port = await saying("");
    expect(await probePort("127.0.0.1", port)).toBe("taken");
    expect(await probePort("192.0.2.1", 4_000)).toBe("EADDRNOTAVAIL");
    const of = (state: string, isOurs: boolean) => judgePort("gateway", 1, { state, isOurs }).state;
    expect([of("free", false), of("free", true)]).toEqual(["ok", "warn"]);
    expect([of("taken", true), of("taken", false)]).toEqual(["ok", "fail"]);
    expect(of("EACCES", false)).toBe("fail");
  });

  test("a NATS server is known by its first line", async () => {
    const of = async (text: string) =>
      natsInfo(`nats://127.0.0.1:${await saying(text)}`, 2_000, systemClock);
    const info = await of('INFO {"version":"2.9.10","jetstream":true}\r\n');
    expect(info).toEqual({ version: "2.9.10", jetstream: true });
    expect(judgeNats("nats://x", info).state).toBe("warn");
    expect(judgeNats("nats://x", { version: "2.11.4", jetstream: true }).state).toBe("ok");
    expect(judgeNats("nats://x", { version: "3.0.0", jetstream: true }).state).toBe("ok");
    expect(judgeNats("nats://x", { version: "2.12.0", jetstream: false }).state).toBe("fail");
    expect(await of("HTTP/1.1 400 Bad Request\r\n")).toBe("what answers is no NATS server");
    expect(await of("")).toBe("it hung up");
    expect(judgeNats("nats://x", "ECONNREFUSED").state).toBe("fail");
    expect(judgeNats(undefined, undefined).state).toBe("skip");
  });
});

describe("HOME", () => {
  test("that others can look into fails, and so does a key that they can read", () => {
    const home = folder();
    fileKeys(join(home, "keys")).loadOrCreate("node");
    chmodSync(home, 0o755);
    chmodSync(join(home, "keys", "node.key"), 0o644);
    const failed = checkHome(home).filter(({ state }) => state === "fail");
    expect(failed.map(({ check }) => check)).toEqual(["home", "node.key"]);
    expect(failed.map(({ todo }) => todo)).toEqual([
      `chmod 700 ${home}`,
      expect.stringContaining(`chmod 600 ${join(home, "keys", "node.key")}`),
    ]);
  });

  test("of one machine warns that the operator's key lies beside the coordinator's", () => {
    const home = folder();
    const stateOf = (name: string) => checkHome(home).find(({ check }) => check === name)?.state;
    expect(stateOf("keys")).toBe("skip");
    fileKeys(home).loadOrCreate("operator");
    expect([stateOf("operator.key"), stateOf("keys")]).toEqual(["ok", undefined]);
    fileKeys(join(home, "keys")).loadOrCreate("coordinator");
    expect([stateOf("operator.key"), stateOf("keys")]).toEqual(["ok", "warn"]);
  });

  test("that is not there, no folder, or too deep for a socket is told so", () => {
    const home = folder();
    expect(checkHome(join(home, "none"))).toMatchObject([{ state: "skip" }]);
    writeFileSync(join(home, "file"), "");
    expect(checkHome(join(home, "file"))).toMatchObject([{ state: "fail" }]);
  });
});

describe("the daemons", () => {
  test("a node that is closed is told why, and what opens it", () => {
    const closedBecause = ["mesh_stale", "policy_missing"];
    const closed = judgeNode(create(GetNodeResponseSchema, { node: "n", closedBecause }));
    expect(closed.map(({ state }) => state)).toEqual(["fail", "fail"]);
    expect(closed[1]?.todo).toBe("altrace policy apply <file>");
    expect(judgeNode(create(GetNodeResponseSchema, { open: true }))).toMatchObject([
      { state: "ok" },
    ]);
    expect(judgeNode("ECONNREFUSED")).toMatchObject([{ state: "fail" }]);
    expect(judgeNode(undefined)).toMatchObject([{ state: "skip" }]);
  });

  test("of a mesh, silent, closed and lagging nodes are named", () => {
    const nodes = [
      create(NodeStateSchema, { node: "n1", live: true, open: true, inSync: true }),
      create(NodeStateSchema, { node: "n2" }),
      create(NodeStateSchema, { node: "n3", live: true, inSync: true }),
      create(NodeStateSchema, { node: "n4", live: true, open: true }),
    ];
    const says = judgeMesh(nodes).map((one) => `${one.state} ${one.says}`);
    expect(says).toEqual([
      "ok it answers, and knows 4 node(s)",
      "warn not heard: n2",
      "warn closed: n3",
      "warn behind in records: n4",
    ]);
    expect(judgeMesh("no answer")).toMatchObject([{ state: "fail" }]);
    expect(judgeMesh(undefined)).toMatchObject([{ state: "skip" }]);
  });

  test("a stream that stores nothing fails, and one that is behind warns; an election is neither", () => {
    const of = (state: { uncommitted?: number; uncommittedMs?: bigint; unansweredMs?: bigint }) =>
      judgeStreams([create(StreamStateSchema, { stream: "ALT_CTL", error: "unknown", ...state })]);
    const behind = { uncommitted: 2, uncommittedMs: 61_000n };
    expect(of({})).toMatchObject([{ check: "streams", state: "ok" }]);
    expect(of({ uncommitted: 1, uncommittedMs: 9_000n, unansweredMs: 9_000n })).toMatchObject([
      { check: "streams", state: "ok" },
    ]);
    expect(of(behind)).toMatchObject([{ check: "ALT_CTL", state: "warn" }]);
    const [stuck] = of({ ...behind, unansweredMs: 59_600n });
    expect(stuck).toMatchObject({
      check: "ALT_CTL",
      state: "fail",
      says: "it has stored nothing for 60 s (unknown); 2 command(s) are not in it, the oldest for 61 s",
      todo: expect.stringContaining("restart the server that leads this stream"),
    });
    const [lame] = judgeStreams([
      create(StreamStateSchema, { stream: "ALT_CTL", behind: ["nats-0", "nats-2"] }),
    ]);
    expect(lame).toMatchObject({
      state: "warn",
      says: "its copy on nats-0 and nats-2 is not current",
    });
    const [mute] = judgeStreams([
      create(StreamStateSchema, { stream: "ALT_CTL", silent: "timeout" }),
    ]);
    expect(mute).toMatchObject({ check: "ALT_CTL", state: "warn" });
    expect(mute?.says).toContain("timeout");
    expect(judgeStreams("no answer")).toMatchObject([{ state: "skip" }]);
    expect(judgeStreams(undefined)).toEqual([]);
  });
});
