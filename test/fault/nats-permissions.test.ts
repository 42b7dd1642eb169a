import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { inboxPrefix } from "../../adapters/nats-permissions.ts";
import { type NatsUser, natsUser } from "../../adapters/nats-user.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { nextRecord } from "../../mesh/record.ts";
import { openSealed, seal } from "../../mesh/sealed.ts";
import type { Signer } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
  RateRequestSchema,
  Standing,
  StandingRequestSchema,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { KillSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { requestSubject } from "../../proto/subjects.ts";
import { ARCHIVES_HERE, archived, SHIPS_AT_ONCE, verifiedArchive } from "../support/archived.ts";
import { comesTrue } from "../support/comes-true.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { firstAnswers } from "../support/first-answers.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "research/worker-1";
const bucket = { b: 10, n: 10, w: 1 };
const GRANT = {
  budget: { calls: 100, tok: 10_000, usd_u: 1_000_000 },
  class: { scheme: "public.internal.confidential.restricted", lvl: 2, cmp: [] },
  geo: { src: ["DE"], proc: ["US", "EU"], egr: ["US", "EU"] },
  models: ["openai/gpt-5-mini"],
  rate: { req: bucket, tok: bucket, usd_u: bucket },
  time: [],
  tools: {},
};
const half = { b: 5, n: 5, w: 1 };
const PART = {
  budget: { calls: 10, tok: 1_000, usd_u: 1_000 },
  rate: { req: half, tok: half, usd_u: half },
};

let provider: Provider;
let mesh: Mesh;
/** What a node that was taken over has in its hands: its place on the bus, and its key. */
let stolen: NatsUser;
let nodeKey: Signer;
/** What `altrace init` made before the coordinator first started: name and content of each key. */
let keysOfInit: readonly string[];
/** Policy places it on another node. */
const ELSEWHERE = "research/worker-3";

beforeAll(async () => {
  provider = await startProvider();
  mesh = await startMesh({
    nodes: 1,
    policy: e2ePolicy(provider.origin).replace("worker-3: {}", "worker-3: { nodes: [n2] }"),
    nodeEnv: { ...PROVIDER_KEYS, ...SHIPS_AT_ONCE },
    coordinatorEnv: ARCHIVES_HERE,
    natsConfig: async ({ coordinators, nodes }) => {
      const { home } = coordinators[0] as { home: string };
      mkdirSync(nodes[0]?.home ?? "", { recursive: true, mode: 0o700 });
      stolen = natsUser(join(nodes[0]?.home ?? "", "node", "keys"));
      const made = await runHere("--home", home, "init", `node/n1=${stolen.publicKey}`);
      expect(made).toMatchObject({ code: 0, stderr: "" });
      keysOfInit = filesOf(join(home, "keys"));
      return readFileSync(join(home, "nats-permissions.conf"), "utf8");
    },
  });
  await mesh.issueKey(AGENT);
  nodeKey = fileKeys(join(mesh.node("n1").home, "node", "keys")).loadOrCreate("node");
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

const filesOf = (folder: string): readonly string[] =>
  readdirSync(folder).map((name) => `${name} ${readFileSync(join(folder, name), "latin1")}`);

/** A connection as that user, and the permissions that it was told to have violated. */
async function connectAs(seed: Uint8Array) {
  const nc = await connect({
    servers: mesh.nats.url,
    authenticator: nkeyAuthenticator(seed),
    inboxPrefix: inboxPrefix({ role: "node", name: "n1" }),
    noAsyncTraces: true,
  });
  const violations: string[] = [];
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === "error") violations.push(status.error.message.toLowerCase());
    }
  })();
  return { nc, violations };
}

type Asked = Extract<NodeRequest["body"], { case: "standing" | "rate" }>;
const RANDOM = { bytes: (count: number) => randomBytes(count) };

/** What a coordinator says to the node's key; undefined: nothing. */
async function asked(nc: NatsConnection, body: Asked): Promise<string | undefined> {
  const [requestId, bootId] = [uuidV7(Date.now(), RANDOM), uuidV7(Date.now(), RANDOM)];
  const request = create(NodeRequestSchema, { node: "n1", bootId, requestId, body });
  const payload = toBinary(NodeRequestSchema, request);
  const sealed = seal("request", payload, nodeKey);
  const answer = await nc.request(requestSubject("n1", body.case), sealed, { timeout: 5_000 });
  const opened = openSealed(
    "reply",
    answer.data,
    () => new Uint8Array(32),
    () => true,
  );
  const reply = opened && fromBinary(NodeReplySchema, opened.payload);
  return reply?.body.case === "refused" ? reply.body.value.reason : reply?.body.case;
}

async function now(): Promise<string> {
  const [answer] = await firstAnswers(mesh.door("n1"), AGENT, { until: () => true });
  return answer ?? "none";
}

/** After this round trip the server has judged everything that was sent before. */
const judged = (nc: NatsConnection) => nc.flush();

describe("a server that lets in this mesh alone", () => {
  test("carries all of it: a node enrols and serves, a kill is acknowledged, money is lent", async () => {
    let said = "";
    await waitUntil(
      () => `the agent to be served: ${said}`,
      async () => {
        said = await now();
        return said === "200 ok";
      },
    );
    const killed = await mesh.mustCli("kill", `agent/${AGENT}`, "--wait");
    expect(killed).toContain("enforced 1/1");
    expect(killed).toContain("durable 1/1");
    expect(await now()).toBe("403 killed_agent");
    const refused = await fetch(`${mesh.node("n1").gateway}/v1/models`);
    await refused.text();
    await archived(mesh.coordinator.home, refused.headers.get("x-request-id") ?? "");
    expect(await verifiedArchive(mesh.coordinator.home)).toHaveLength(1);
    const revived = await mesh.mustCli("revive", `agent/${AGENT}`, "--wait");
    expect(revived).toContain("durable 1/1");
    const { accounts } = JSON.parse(await mesh.mustCli("budget", "show", "--json")) as {
      readonly accounts: readonly { readonly account: string; readonly spent: string }[];
    };
    expect(accounts.map(({ account }) => account)).toContain(`agent/${AGENT}`);
    // The coordinator has the keys that `altrace init` made, and needed no other.
    expect(filesOf(join(mesh.coordinator.home, "keys"))).toEqual(keysOfInit);
  });

  test("carries a coordinator's call to a node, and the node's answer", async () => {
    using dir = tempDir();
    const file = (name: string, content: string) => {
      const path = join(dir.path, name);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    };
    const { privateKey } = generateKeyPairSync("ed25519");
    const key = file("own.pem", privateKey.export({ format: "pem", type: "pkcs8" }) as string);
    const { x = "" } = privateKey.export({ format: "jwk" });
    const holder = ["--holder", x];
    const grant = ["--grant", file("grant.json", JSON.stringify(GRANT))];
    const issued = await mesh.mustCli(
      ...["contract", "issue", AGENT, ...grant, ...holder, "--node", "n1", "--json"],
    );
    const { chain } = JSON.parse(issued) as { readonly chain: string };
    const own = ["--key", key, "--chain", chain, ...holder];
    const part = ["--grant", file("part.json", JSON.stringify(PART))];
    const child = JSON.parse(
      await mesh.mustCli("contract", "delegate", "--offline", ...own, ...part, "--json"),
    ) as { readonly chain: string; readonly contract: string };
    const path = join(mesh.coordinator.home, "coordinator.sock");
    const { calls, close } = createGrpcClient(CoordinatorService, { kind: "unix", path });
    const opened = await calls.delegate({ chain: child.chain }).finally(close);
    expect(opened.contract).toMatchObject({ contract: child.contract, node: "n1", state: "open" });
  });

  test.each([
    ["a kill ahead of its commit", "alt.fast.kill.global"],
    ["the word that a revive is committed", "alt.revive.kill.global"],
    ["how far a coordinator's log is", "alt.log.c1"],
    ["a record of the stream", "alt.ctl.kill.global"],
    ["a revocation", "alt.rev.kill.contract.x"],
    ["a committed copy", "alt.bc.kill.global"],
    ["a digest", "alt.dig"],
    ["another node's acknowledgement", "alt.ack.n2"],
    ["another node's heartbeat", "alt.hb.n2"],
    ["another node's offer", "alt.heal.n2"],
    ["another node's question", "alt.req.n2.lease"],
    ["a link of the ledger's journal", "alt.lj.0"],
    ["a word on who leads", "alt.coord.leader"],
    ["a part of a policy", "alt.part.x"],
    ["a reading of all parts in turn", "$JS.API.DIRECT.GET.ALT_PART"],
    ["an answer to another node", "_INBOX.n2.x"],
    ["a call to another node", "alt.call.n2"],
    ["an answer that no coordinator asked for", "_INBOX_COORDINATOR.c1.x"],
    ["the end of a stream", "$JS.API.STREAM.DELETE.ALT_CTL"],
    ["a purge", "$JS.API.STREAM.PURGE.ALT_CTL"],
    ["another shape of a stream", "$JS.API.STREAM.UPDATE.ALT_CTL"],
    ["the end of one message", "$JS.API.STREAM.MSG.DELETE.ALT_CTL"],
    ["a consumer", "$JS.API.CONSUMER.CREATE.ALT_CTL"],
    ["a look into the journal", "$JS.API.DIRECT.GET.ALT_LEASE"],
  ])("a node that was taken over cannot publish %s", async (_what, subject) => {
    const { nc, violations } = await connectAs(stolen.seed);
    nc.publish(subject, "x");
    await judged(nc);
    await comesTrue(() => expect(violations.join()).toContain(subject.toLowerCase()));
    await nc.close();
  });

  test.each([
    "alt.req.>",
    "alt.ack.*",
    "alt.call.*",
    "alt.call.n2",
    "alt.log.*",
    "_INBOX.>",
    "_INBOX_COORDINATOR.c1.>",
    "alt.lj.>",
    ">",
  ])("a node that was taken over cannot listen to %s", async (subject) => {
    const { nc, violations } = await connectAs(stolen.seed);
    nc.subscribe(subject, { callback: () => undefined });
    await judged(nc);
    await comesTrue(() => expect(violations.join()).toContain(subject.toLowerCase()));
    await nc.close();
  });

  test("its own keys get it nothing for an agent that is placed elsewhere", async () => {
    const { nc } = await connectAs(stolen.seed);
    const standing = (
      agent: string,
      { askKill = false, level = Standing.BLOCK as Standing } = {},
    ) =>
      asked(nc, {
        case: "standing",
        value: create(StandingRequestSchema, {
          agent,
          standing: level,
          cause: "content_high",
          askKill,
        }),
      });
    const rate = (account: string) =>
      asked(nc, { case: "rate", value: create(RateRequestSchema, { account }) });
    expect(await standing(ELSEWHERE)).toBe("not_placed");
    expect(await standing(ELSEWHERE, { askKill: true })).toBe("not_placed");
    expect(await rate(`agent/${ELSEWHERE}`)).toBe("not_placed");
    // Of its own agent the same key is heard.
    expect(await standing(AGENT, { level: Standing.NORMAL })).toBe("standing");
    expect(await mesh.mustCli("kills")).toBe("nothing is killed\n");
    await nc.close();
  });

  test("a record that it signed itself is nobody's, though it may offer any", async () => {
    const { nc, violations } = await connectAs(stolen.seed);
    const { mesh: name } = readTrustFile(join(mesh.coordinator.home, "trust.json"));
    const fields = { mesh: name, issuedAtMs: Date.now(), operator: "n1" };
    const kill = { case: "kill" as const, value: create(KillSchema, { reason: "mine" }) };
    const forged = nextRecord(
      undefined,
      { ...fields, scope: "global", cmdId: uuidV7(Date.now(), RANDOM), op: kill },
      nodeKey,
    );
    nc.publish("alt.heal.n1", forged);
    await judged(nc);
    expect(violations).toEqual([]);
    expect(await now()).toBe("200 ok");
    expect(await mesh.mustCli("kills")).toBe("nothing is killed\n");
    await nc.close();
  });

  test("its own word it has, so the refusals above are not those of a deaf server", async () => {
    const { nc, violations } = await connectAs(stolen.seed);
    nc.subscribe("alt.dig", { callback: () => undefined });
    nc.publish("alt.ack.n1", "x");
    await judged(nc);
    const last = await nc.request(
      "$JS.API.DIRECT.GET.ALT_CTL",
      JSON.stringify({ seq: 1, next_by_subj: "alt.ctl.>" }),
    );
    expect(last.headers?.get("Nats-Subject")).toMatch(/^alt\.ctl\./);
    const part = await nc.request(
      "$JS.API.STREAM.MSG.GET.ALT_PART",
      JSON.stringify({ last_by_subj: "alt.part.x" }),
    );
    expect(part.json()).toMatchObject({ error: { description: "no message found" } });
    const copy = await nc.request("$JS.API.DIRECT.GET.ALT_PART.alt.part.x");
    expect(copy.headers?.code).toBe(404);
    expect(violations).toEqual([]);
    await nc.close();
  });

  test("nobody else is let in at all", async () => {
    using dir = tempDir();
    await expect(connectAs(natsUser(dir.path).seed)).rejects.toThrow(/authorization/i);
    await expect(connect({ servers: mesh.nats.url })).rejects.toThrow(/authorization/i);
  });

  test("and after all that the mesh does as before", async () => {
    expect(await now()).toBe("200 ok");
    expect(await mesh.mustCli("nodes")).toMatch(/^n1 +live +open/m);
  });

  test("until an operator removes it: then it is none of the mesh's nodes", async () => {
    expect(await mesh.mustCli("trust", "remove", "node/n1")).toContain("node/n1 is removed");
    expect(await mesh.mustCli("nodes")).not.toMatch(/^n1 /m);
    expect((await mesh.cli("trust", "remove", "node/n1")).stderr).toContain("not enrolled");
    expect((await mesh.cli("token", "n1")).code).toBe(1);
  });
});
