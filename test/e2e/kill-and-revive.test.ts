import { randomUUID } from "node:crypto";
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import type { GrpcClient } from "../../adapters/grpc-client.ts";
import { RpcError } from "../../adapters/grpc-error.ts";
import { Operator } from "../../bench/harness/operator.ts";
import { signRecord } from "../../mesh/record.ts";
import type { Signer } from "../../ports/keys.ts";
import type { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { NodeService } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import {
  ReviveSchema,
  type SignedRecord,
  SignedRecordSchema,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { healthOf, servicesOf } from "../support/grpc-introspection.ts";
import { E2E_TIMEOUTS, NODE, runAltrace, startProgram } from "../support/run-altrace.ts";
import { failureOf } from "../support/sdk-clients.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

let provider: Provider;
let altrace: Altrace;
let coordinator: GrpcClient<typeof CoordinatorService>;
let node: GrpcClient<typeof NodeService>;
let operator: Operator;

beforeAll(async () => {
  provider = await startProvider();
  altrace = await startAltrace({ policy: e2ePolicy(provider.origin), env: PROVIDER_KEYS });
  operator = new Operator(altrace.ready);
  ({ coordinator, node } = operator);
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

async function ask(agent: string): Promise<{ readonly said: string; readonly id: string }> {
  const answer = await fetch(`${altrace.gateway}/v1/chat/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${altrace.key(agent)}`,
    },
    body: JSON.stringify({ model: "gpt-5-mini", messages: [{ role: "user", content: "hello" }] }),
  });
  await answer.text();
  const reason = answer.headers.get("x-altrace-reason") ?? "ok";
  return { said: `${answer.status} ${reason}`, id: answer.headers.get("x-request-id") ?? "" };
}

async function said(...agents: string[]): Promise<string[]> {
  return Promise.all(agents.map(async (agent) => (await ask(agent)).said));
}

const RESEARCHER = "research/worker-1";
const COLLEAGUE = "research/worker-2";
const TRIAGE = "support/triage";

describe("by the command line", () => {
  test.each([
    ["agent/research/worker-1", ["403 killed_agent", "200 ok", "200 ok"]],
    ["team/research", ["403 killed_team", "403 killed_team", "200 ok"]],
    ["global", ["403 killed_global", "403 killed_global", "403 killed_global"]],
  ])(
    "a kill of %s stops who it covers, and its revive lets them go on",
    async (scope, expected) => {
      const killed = await altrace.cli("kill", scope, "--wait", "--reason", "a test");
      expect(killed).toMatchObject({ code: 0, stderr: "" });
      // Every node may have it on disk before the stream has.
      expect(killed.stdout).toMatch(
        new RegExp(
          `^${scope} {2}(accepted|committed) {2}enforced 1/1 {2}closed 1/1 {2}durable 1/1$`,
          "m",
        ),
      );
      expect(killed.stdout).toMatch(
        /^ {2}node-1 +enforced \d+\.\d\d ms +closed \d+ in \d+\.\d\d ms +durable \d+\.\d\d ms/m,
      );
      expect(await said(RESEARCHER, COLLEAGUE, TRIAGE)).toEqual(expected);
      expect(await altrace.mustCli("kills")).toMatch(
        new RegExp(`^${scope} .* committed +a test$`, "m"),
      );
      const revived = await altrace.cli("revive", scope, "--wait");
      expect(revived).toMatchObject({ code: 0, stderr: "" });
      expect(revived.stdout).toContain("durable 1/1");
      expect(await said(RESEARCHER, COLLEAGUE, TRIAGE)).toEqual(["200 ok", "200 ok", "200 ok"]);
      expect(await altrace.mustCli("kills")).toBe("nothing is killed\n");
    },
  );

  test("a scope that is none is a usage error, and nothing is killed", async () => {
    for (const scope of ["agent/research", "policy"]) {
      const { code, stderr } = await altrace.cli("kill", scope, "--wait");
      expect(code, scope).toBe(2);
      expect(stderr).toContain("expected global, team/<team> or agent/<team>/<agent>");
    }
    expect(await altrace.mustCli("kills")).toBe("nothing is killed\n");
  });

  test("a dry run says what would happen, and nothing does", async () => {
    expect(await altrace.mustCli("kill", "team/support", "--dry-run")).toMatch(
      /^would kill team\/support as version \d+ on 1 node\(s\)\n$/,
    );
    expect(await said(TRIAGE)).toEqual(["200 ok"]);
  });

  test("a mesh that is not there is a failure that says so", async () => {
    const { code, stderr } = await runAltrace(["kill", "global", "--home", "/tmp/no-such-home"]);
    expect(code).toBe(1);
    expect(stderr).toContain("/tmp/no-such-home/coordinator.sock");
  });
});

describe("by gRPC", () => {
  test("a kill answers with the command, which can be watched to its end", async () => {
    const { command } = await coordinator.calls.kill({
      scope: "team/support",
      reason: "by gRPC",
      operator: "sre",
    });
    expect(command).toMatchObject({ scope: "team/support", accepted: true });
    const states = await Array.fromAsync(
      coordinator.calls.watchCommand({ cmdId: command?.cmdId ?? "" }, { timeoutMs: 10_000 }),
    );
    const last = states.at(-1)?.command;
    expect(last).toMatchObject({ done: true, nodesTotal: 1, nodesDurable: 1, nodesClosed: 1 });
    expect(last?.nodes[0]?.ack).toMatchObject({ durable: true, closed: true });
    expect(await said(TRIAGE)).toEqual(["403 killed_team"]);
    // Done is where the nodes have it, which may be before the stream does.
    const kills = await waitUntil("the kill to be stored", async () => {
      const { kills } = await coordinator.calls.listKills({});
      return kills[0]?.committed === true && kills;
    });
    expect(kills).toMatchObject([{ scope: "team/support", operator: "sre" }]);
    // What operators are shown follows; what requests are judged by does not wait for it.
    const shown = await waitUntil("the node to show it", async () => {
      const { agent } = await node.calls.getAgent({ agent: TRIAGE });
      return agent?.killed === true && agent;
    });
    expect(shown.killedBy).toEqual(["team/support"]);
  });

  test("who watches agents is told of each once, and from then on of whoever changed", async () => {
    const scope = `agent/${RESEARCHER}`;
    const seen: string[] = [];
    const others = new Set<string>();
    let areAllTold = false;
    for await (const { agent, allTold } of node.calls.watchAgents({ filter: "research" })) {
      areAllTold ||= allTold;
      const word = agent?.killed === true ? "killed" : "lives";
      if (agent?.agent === RESEARCHER && seen.at(-1) !== word) seen.push(word);
      if (agent !== undefined && agent.agent !== RESEARCHER) others.add(agent.agent);
      // What follows is a change.
      if (!areAllTold) continue;
      if (seen.join() === "lives") await operator.kill(scope);
      if (seen.join() === "lives,killed") await operator.revive(scope);
      if (seen.join() === "lives,killed,lives") break;
    }
    // Nobody of another team.
    expect([...others].sort()).toEqual([COLLEAGUE, "research/worker-3"]);
  });

  test("the same command twice is one command", async () => {
    const cmdId = "01998f3e-7c1a-7b2c-9d3e-5f60718293a4";
    const ask = () => coordinator.calls.kill({ scope: "team/edges", operator: "sre", cmdId });
    const [first, second] = [await ask(), await ask()];
    expect(second.command?.v).toBe(first.command?.v);
  });

  test("a revive that no operator has signed is refused, whoever did sign it", async () => {
    const { record } = await coordinator.calls.getScope({ scope: "team/support" });
    // The coordinator's own record of the kill, called a revive, is no revive.
    const again = await failureOf(coordinator.calls.revive(record ? { record } : {}), RpcError);
    expect(again.reason).toBe("op_not_allowed");
    const none = await failureOf(coordinator.calls.revive({}), RpcError);
    expect(none.code).toBe("INVALID_ARGUMENT");
    // What somebody could sign who has stolen every key but the operator's, or made one.
    const stolen = fileKeys(join(altrace.home, "keys"));
    const own = join(altrace.home, "own-keys");
    for (const [signer, reason] of [
      [stolen.load("coordinator"), "signer_not_allowed"],
      [stolen.load("enrolment"), "signer_not_allowed"],
      [fileKeys(own).loadOrCreate("operator"), "key_unknown"],
    ] as const) {
      if (signer === undefined) throw new Error("HOME has both keys");
      const signed = await signedRevive("team/support", signer);
      const refused = await failureOf(coordinator.calls.revive({ record: signed }), RpcError);
      expect(refused.reason).toBe(reason);
    }
    expect(await said(TRIAGE)).toEqual(["403 killed_team"]);
  });

  test("a revive that the operator has signed lets the team go on", async () => {
    const signer = fileKeys(altrace.home).load("operator");
    if (signer === undefined) throw new Error("HOME has the operator's key");
    const record = await signedRevive("team/support", signer);
    const { command } = await coordinator.calls.revive({ record });
    await Array.fromAsync(
      coordinator.calls.watchCommand({ cmdId: command?.cmdId ?? "" }, { timeoutMs: 60_000 }),
    );
    expect(await said(TRIAGE)).toEqual(["200 ok"]);
    // The same record once more is nothing new, and nothing that was refused comes back by it.
    await coordinator.calls.kill({ scope: "team/support", operator: "sre" });
    await waitUntil("the kill", async () => (await said(TRIAGE)).includes("403 killed_team"));
    await coordinator.calls.revive({ record });
    expect(await said(TRIAGE)).toEqual(["403 killed_team"]);
    await operator.revive("team/support");
    await operator.revive("team/edges");
  });

  test("an agent stays killed while any of its kills stands", async () => {
    await operator.kill(`agent/${RESEARCHER}`);
    await operator.kill("team/research");
    await operator.revive("team/research");
    expect(await said(RESEARCHER, COLLEAGUE)).toEqual(["403 killed_agent", "200 ok"]);
    await operator.revive(`agent/${RESEARCHER}`);
    expect(await said(RESEARCHER)).toEqual(["200 ok"]);
  });

  test("malformed calls are refused with the field that is wrong", async () => {
    const scope = await failureOf(coordinator.calls.kill({ scope: "agents/all" }), RpcError);
    expect(scope).toMatchObject({ code: "INVALID_ARGUMENT", reason: "malformed_scope" });
    const agent = await failureOf(node.calls.getAgent({ agent: "nobody" }), RpcError);
    expect(agent).toMatchObject({ code: "INVALID_ARGUMENT", reason: "malformed_agent" });
    const unknown = await failureOf(node.calls.getAgent({ agent: "no/body" }), RpcError);
    expect(unknown).toMatchObject({ code: "NOT_FOUND", reason: "agent_unknown" });
  });

  test("both sockets answer health checks and describe themselves", async () => {
    const { node: nodeAddress, coordinator: coordinatorAddress } = altrace.ready.grpc;
    for (const [address, service] of [
      [nodeAddress, "altrace.v1.NodeService"],
      [coordinatorAddress, "altrace.v1.CoordinatorService"],
    ] as const) {
      expect(await healthOf(address, service)).toBe("SERVING");
      expect(await servicesOf(address)).toEqual(
        expect.arrayContaining([service, "grpc.health.v1.Health"]),
      );
    }
  });
});

describe("what an operator can see", () => {
  test("`altrace explain` has a row for each of the 14 stages, for an allow and for a deny", async () => {
    const allowed = await ask(RESEARCHER);
    const killScope = `agent/${RESEARCHER}`;
    await operator.kill(killScope);
    const denied = await ask(RESEARCHER);
    await operator.revive(killScope);
    expect([allowed.said, denied.said]).toEqual(["200 ok", "403 killed_agent"]);
    const allow = await explain(allowed.id);
    expect(allow.allowed).toBe(true);
    expect(allow.rows.map(({ no }) => no)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    const outcomes = new Set(allow.rows.map(({ outcome }) => outcome));
    // It offered no tools, so one stage had nothing to judge.
    expect([...outcomes].sort()).toEqual(["not applicable", "pass"]);
    expect(
      allow.rows.filter(({ outcome }) => outcome !== "pass").map(({ stage }) => stage),
    ).toEqual(["tool"]);
    // The decision, then what it came to.
    expect(allow.records.map(({ k }) => k)).toEqual(["decision", "settle"]);
    const deny = await explain(denied.id);
    expect(deny).toMatchObject({ allowed: false, reason: "killed_agent" });
    expect(deny.rows).toHaveLength(14);
    expect(deny.rows.slice(0, 4).map(({ outcome }) => outcome)).toEqual([
      "pass",
      "pass",
      "refused",
      "not reached",
    ]);
    const text = await altrace.mustCli("explain", denied.id);
    expect(text).toContain("refused: killed_agent");
    expect(text.split("\n").filter((line) => /^ ?\d+ {2}\w/.test(line))).toHaveLength(14);
  });

  test("a request that nobody made is not explained", async () => {
    const unknown = await altrace.cli("explain", "01998f3e-7c1a-7b2c-9d3e-5f60718293a4");
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("request_unknown");
    const malformed = await altrace.cli("explain", "no-id");
    expect(malformed.code).toBe(1);
    expect(malformed.stderr).toContain("malformed_request_id");
  });

  test("health, readiness and metrics, of node and coordinator", async () => {
    const nodeAdmin = altrace.ready.metrics.replace("/metrics", "");
    const coordinatorAdmin = `http://127.0.0.1:${altrace.portBase + 93}`;
    for (const admin of [nodeAdmin, coordinatorAdmin]) {
      expect(await get(`${admin}/healthz`)).toMatch(/^200 /);
      expect(await get(`${admin}/readyz`)).toMatch(/^200 /);
      expect(await get(`${admin}/other`)).toMatch(/^404 /);
    }
    const ofNode = await get(`${nodeAdmin}/metrics`);
    for (const name of [
      "altrace_decisions_total",
      "altrace_decision_seconds_bucket",
      "altrace_mesh_digest_age_seconds",
      "altrace_open 1",
      "altrace_overrun_available_usd",
      "gen_ai_client_token_usage",
    ]) {
      expect(ofNode).toContain(name);
    }
    expect(ofNode).not.toMatch(/worker-1|triage/);
    expect(await get(`${coordinatorAdmin}/metrics`)).toContain("altrace_");
  });

  test("agents, one agent and nodes", async () => {
    // How far a node is comes with its next heartbeat.
    await waitUntil("the node in sync", async () =>
      /^node-1 +live +open +in sync /m.test(await altrace.mustCli("nodes")),
    );
    const agents = await altrace.mustCli("agents", "research");
    expect(agents.split("\n").filter((line) => line.startsWith("research/"))).toHaveLength(3);
    expect(agents).not.toContain("support/");
    expect(await altrace.mustCli("agent", RESEARCHER)).toMatch(/^killed by +nothing$/m);
  });
});

describe.runIf(isRoot)("another user of this machine", () => {
  const asNobody = { uid: NOBODY, env: { HOME: "/nonexistent" } };

  test("can neither kill nor revive", async () => {
    await operator.kill(`agent/${RESEARCHER}`);
    for (const command of ["revive", "kill"]) {
      const words = [command, `agent/${RESEARCHER}`, "--home", altrace.home];
      const { code, stderr } = await runAltrace(words, asNobody);
      expect(code, command).toBe(1);
      expect(stderr).toMatch(/EACCES|permission denied/i);
    }
    expect(await said(RESEARCHER)).toEqual(["403 killed_agent"]);
  });

  test("cannot open the sockets or read the keys, even where HOME itself lets everybody in", async () => {
    const files = ["node.sock", "coordinator.sock", "operator.key", "demo/demo.json"];
    chmodSync(altrace.home, 0o755);
    try {
      for (const file of files) {
        const path = join(altrace.home, file);
        expect(existsSync(path), file).toBe(true);
        expect(await openAs(NOBODY, path), file).toBe("EACCES");
        expect(await openAs(0, path), file).toBe("opened");
      }
      // The operator's key is what a revive needs.
      const words = ["revive", `agent/${RESEARCHER}`, "--home", altrace.home];
      const { code } = await runAltrace(words, asNobody);
      expect(code).toBe(1);
    } finally {
      chmodSync(altrace.home, 0o700);
    }
    expect(await said(RESEARCHER)).toEqual(["403 killed_agent"]);
    await operator.revive(`agent/${RESEARCHER}`);
    expect(await said(RESEARCHER)).toEqual(["200 ok"]);
  });

  /** What the kernel says to a user who opens a file or connects to a socket. */
  async function openAs(uid: number, path: string): Promise<string> {
    const script = `
      const { connect } = require("node:net");
      const { openSync, statSync } = require("node:fs");
      const say = (word) => { console.log(word); process.exit(0); };
      const path = process.argv[1];
      try {
        if (!statSync(path).isSocket()) { openSync(path); say("opened"); }
      } catch (error) { say(error.code); }
      connect(path).on("connect", () => say("opened")).on("error", (error) => say(error.code));`;
    const started = startProgram([NODE, "-e", script, path], { uid });
    await started.ended;
    return started.stdout().trim() || started.stderr();
  }
});

async function signedRevive(scope: string, signer: Signer): Promise<SignedRecord> {
  const { mesh, v, hash: prev } = await coordinator.calls.getScope({ scope });
  const bytes = signRecord(
    {
      mesh,
      scope,
      v: Number(v) + 1,
      prev,
      cmdId: randomUUID(),
      issuedAtMs: Date.now(),
      operator: "sre",
      op: { case: "revive", value: create(ReviveSchema, { reason: "a test" }) },
    },
    signer,
  );
  return fromBinary(SignedRecordSchema, bytes);
}

type Explained = {
  readonly allowed: boolean;
  readonly reason: string;
  readonly rows: readonly {
    readonly no: number;
    readonly stage: string;
    readonly outcome: string;
  }[];
  readonly records: readonly { readonly k: string }[];
};

async function explain(id: string): Promise<Explained> {
  return JSON.parse(await altrace.mustCli("explain", id, "--json")) as Explained;
}

async function get(url: string): Promise<string> {
  const answer = await fetch(url);
  return `${answer.status} ${await answer.text()}`;
}
