import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { create, fromBinary } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { fileKeys } from "../../../adapters/file-keys.ts";
import { createGrpcClient } from "../../../adapters/grpc-client.ts";
import { RpcError } from "../../../adapters/grpc-error.ts";
import { type BusHub, createBusHub } from "../../../adapters/in-process-bus.ts";
import { openLmdbStore } from "../../../adapters/lmdb-store.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { buildCoordinator, type Coordinator } from "../../../coordinator/app.ts";
import { readCoordinatorConfig } from "../../../coordinator/config.ts";
import { foundMesh, keysPath, socketPath, storePath } from "../../../coordinator/found-mesh.ts";
import { nextRecord } from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import type { Signer } from "../../../ports/keys.ts";
import { uuidV7 } from "../../../ports/random.ts";
import { CoordinatorService } from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  LimitSchema,
  PolicySchema,
  ReviveSchema,
  SignedRecordSchema,
  Unit,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { waitUntil } from "../../support/wait-until.ts";
import { LIMITS, readLimits } from "./coordinator-world.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

class Running {
  readonly home: string;
  readonly hub: BusHub;
  readonly operator: Signer;
  readonly coordinator: Coordinator;
  readonly mesh: string;

  constructor(of: { home: string; hub: BusHub; operator: Signer; coordinator: Coordinator }) {
    this.home = of.home;
    this.hub = of.hub;
    this.operator = of.operator;
    this.coordinator = of.coordinator;
    this.mesh = of.coordinator.mesh;
  }

  get calls() {
    const target = { kind: "unix" as const, path: socketPath(this.home) };
    const client = createGrpcClient(CoordinatorService, target);
    cleanups.push(() => client.close());
    return client.calls;
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.coordinator.adminPort()}`;
  }

  /** A record on top of what the coordinator says is current, as the CLI makes it. */
  async sign(scope: string, op: RecordOp, cmdId = uuidV7(Date.now(), cryptoRandom)) {
    const current = await this.calls.getScope({ scope });
    const before = current.record && {
      scope,
      v: Number(current.v),
      hash: current.hash,
    };
    const fields = { mesh: current.mesh, scope, op, cmdId, issuedAtMs: Date.now() };
    const bytes = nextRecord(before as never, { ...fields, operator: "olga" }, this.operator);
    return fromBinary(SignedRecordSchema, bytes);
  }
}

async function running(): Promise<Running> {
  const dir = tempDir();
  cleanups.push(() => dir[Symbol.dispose]());
  const home = dir.path;
  const read = readCoordinatorConfig({}, {}, { home });
  if (!("config" in read)) throw new Error(read.errors.join());
  const { pin, operator } = foundMesh({
    home,
    mesh: undefined,
    operatorKeys: fileKeys(home),
    random: cryptoRandom,
  });
  const store = openLmdbStore(storePath(home));
  const hub = createBusHub(store);
  const coordinator = await buildCoordinator(
    { ...read.config, metricsPort: 0, drainMs: 200 },
    pin,
    {
      clock: systemClock,
      random: cryptoRandom,
      bus: hub.connect(),
      store,
      keys: fileKeys(keysPath(home)),
      operator,
      log: () => undefined,
      limitsOf: readLimits,
    },
  );
  cleanups.push(async () => {
    await coordinator.stop();
    await hub.close();
    await store.close();
  });
  await coordinator.start();
  await coordinator.whenReady(AbortSignal.timeout(10_000));
  if (!operator) throw new Error("no operator");
  return new Running({ home, hub, operator, coordinator });
}

async function failure(promise: Promise<unknown>): Promise<RpcError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RpcError);
  return error as RpcError;
}

const revive = (): RecordOp => ({ case: "revive", value: create(ReviveSchema, { reason: "ok" }) });

function policy(text: string): RecordOp {
  const body = Buffer.from(text);
  const sha256 = createHash("sha256").update(body).digest();
  const value = create(PolicySchema, { sha256, size: BigInt(body.length), body });
  return { case: "policy", value };
}

describe("a running coordinator", () => {
  test("kills, lists, watches and revives", async () => {
    const mesh = await running();
    const { calls } = mesh;
    const cmdId = uuidV7(Date.now(), cryptoRandom);
    const killed = await calls.kill({
      scope: "team/pay",
      reason: "drill",
      operator: "olga",
      cmdId,
    });
    expect(killed.command).toMatchObject({ cmdId, scope: "team/pay", v: 1n, accepted: true });
    const states = [];
    for await (const { command } of calls.watchCommand({ cmdId })) states.push(command);
    // No node is waited for, and a kill that is accepted holds before it is committed.
    expect(states.at(-1)).toMatchObject({ nodesTotal: 0, done: true });
    const kills = await waitUntil("the kill's commit", async () => {
      const listed = await calls.listKills({});
      return listed.kills[0]?.committed && listed.kills;
    });
    expect(kills).toMatchObject([
      { scope: "team/pay", v: 1n, cmdId, operator: "olga", reason: "drill", committed: true },
    ]);
    const revived = await calls.revive({ record: await mesh.sign("team/pay", revive()) });
    expect(revived.command).toMatchObject({ scope: "team/pay", v: 2n, committed: true });
    expect((await calls.listKills({})).kills).toEqual([]);
  });

  test("draws a command id when none is given", async () => {
    const { calls } = await running();
    const { command } = await calls.kill({ scope: "global" });
    expect(command?.cmdId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  });

  test("applies a policy, and its ledger follows", async () => {
    const mesh = await running();
    const { calls } = mesh;
    expect((await calls.getLedger({})).accounts).toEqual([]);
    const record = await mesh.sign("policy", policy(JSON.stringify(LIMITS)));
    expect((await calls.applyPolicy({ record })).command?.committed).toBe(true);
    const { accounts } = await calls.getLedger({ account: "overrun" });
    expect(accounts).toMatchObject([
      {
        account: "overrun",
        unit: Unit.USD_MICROS,
        window: "total",
        limit: 1_000_000n,
        available: 1_000_000n,
        reserved: 0n,
        spent: 0n,
        children: 0n,
      },
    ]);
    const account = { unit: Unit.USD_MICROS, window: "total", limit: 7n };
    const value = create(LimitSchema, { of: { case: "account", value: account as never } });
    const limit = await mesh.sign("budget/overrun", { case: "limit", value });
    await calls.setLimit({ record: limit });
    const after = await calls.getLedger({ account: "overrun" });
    expect(after.accounts).toMatchObject([{ limit: 7n, available: 7n }]);
    expect(after.leases).toEqual([]);
  });

  test("says of every refusal what it is", async () => {
    const mesh = await running();
    const { calls } = mesh;
    expect(await failure(calls.kill({ scope: "policy" }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "malformed_scope",
      field: "scope",
    });
    expect(await failure(calls.revive({}))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "record_missing",
      field: "record",
    });
    const bad = await mesh.sign("policy", policy("{}"));
    expect(await failure(calls.applyPolicy({ record: bad }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "policy_malformed",
    });
    const good = await mesh.sign("policy", policy("[]"));
    expect(await failure(calls.revive({ record: good }))).toMatchObject({
      code: "PERMISSION_DENIED",
      reason: "op_not_allowed",
    });
    await calls.applyPolicy({ record: good });
    const stale = await mesh.sign("policy", policy("[]"));
    await calls.applyPolicy({ record: await mesh.sign("policy", policy("[ ]")) });
    expect(await failure(calls.applyPolicy({ record: stale }))).toMatchObject({
      code: "ABORTED",
      reason: "conflict",
    });
    const forged = create(SignedRecordSchema, {
      payload: stale.payload,
      signatures: [{ kid: stale.signatures[0]?.kid ?? "", sig: new Uint8Array(64) }],
    });
    expect(await failure(calls.applyPolicy({ record: forged }))).toMatchObject({
      code: "PERMISSION_DENIED",
      reason: "signature_invalid",
    });
    const watched = async (): Promise<void> => {
      for await (const _update of calls.watchCommand({ cmdId: "x" }));
    };
    expect(await failure(watched())).toMatchObject({
      code: "NOT_FOUND",
      reason: "command_unknown",
    });
    expect(await failure(calls.getScope({ scope: "nowhere" }))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(await failure(calls.createEnrolmentToken({ node: "A" }))).toMatchObject({
      reason: "malformed_node",
    });
  });

  test("gives out tokens for nodes", async () => {
    const { calls } = await running();
    const { token } = await calls.createEnrolmentToken({ node: "n1" });
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect((await calls.listNodes({})).nodes).toEqual([]);
  });

  test("shows health, readiness and metrics on the loopback address", async () => {
    const mesh = await running();
    await mesh.calls.kill({ scope: "global" });
    const get = async (path: string) => {
      const response = await fetch(mesh.adminUrl + path);
      return { status: response.status, text: await response.text() };
    };
    expect(await get("/healthz")).toEqual({ status: 200, text: "ok\n" });
    expect(await get("/readyz")).toEqual({ status: 200, text: "ok\n" });
    expect((await get("/nothing")).status).toBe(404);
    const { text } = await get("/metrics");
    expect(text).toContain('altrace_coordinator_events_total{event="command_accepted"} 2');
    expect(text).toContain('altrace_coordinator_events_total{event="ledger_fenced"} 0');
    expect(text).toMatch(/altrace_mesh_nodes\{state="live"\} 0/);
    expect(text).toMatch(/altrace_mesh_records 2/);
    // Its commit may be on its way.
    expect(text).toMatch(/altrace_mesh_commands_uncommitted\{stream="ALT_CTL"\} [01]\n/);
    expect(text).toMatch(/altrace_mesh_commands_uncommitted_age_seconds\{stream="ALT_REV"\} 0\n/);
    expect(text).toMatch(/altrace_mesh_stream_unanswered_seconds\{stream="ALT_LEASE"\} 0/);
    const { streams } = await mesh.calls.listStreams({});
    const names = streams.map(({ stream }) => stream);
    expect(names).toEqual(["ALT_CTL", "ALT_REV", "ALT_LEASE", "ALT_COORD", "ALT_PART"]);
    expect(text).not.toMatch(/node=|agent=/);
  });

  test("keeps what it makes to its user", async () => {
    const { home } = await running();
    expect(statSync(socketPath(home)).mode & 0o777).toBe(0o600);
    expect(statSync(storePath(home)).mode & 0o777).toBe(0o700);
    expect(statSync(`${keysPath(home)}/coordinator.key`).mode & 0o777).toBe(0o600);
  });

  test("finds everything again after a stop, and its socket is gone in between", async () => {
    const mesh = await running();
    await mesh.calls.kill({ scope: "team/pay" });
    await mesh.coordinator.stop();
    expect(existsSync(socketPath(mesh.home))).toBe(false);
    await mesh.hub.close();
    const store = openLmdbStore(storePath(mesh.home));
    expect(store.get("record/team/pay")).toBeDefined();
    await store.close();
  });
});
