import { createHash, randomUUID } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { create } from "@bufbuild/protobuf";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { connectNatsBus } from "../../adapters/nats-bus.ts";
import { BODY_BYTES_MAX } from "../../mesh/policy-parts.ts";
import { signRecord } from "../../mesh/record.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { PolicySchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { CONTROL_STREAM, controlSubject } from "../../proto/subjects.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { firstAnswers } from "../support/first-answers.ts";
import { NATS_PROGRAMS } from "../support/nats-programs.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { failureOf, openaiOf } from "../support/sdk-clients.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "research/worker-1";
const OTHER = "support/triage";
const NODES = ["n1", "n2", "n3"] as const;

let provider: Provider;
let mesh: Mesh;

const { count: SERVERS } = proofCount("servers under the mesh", { small: 1, full: 2 });
const RUN = NATS_PROGRAMS.slice(0, SERVERS).filter(({ absent }) => absent === undefined);
for (const { name, absent } of NATS_PROGRAMS) {
  if (RUN.some((one) => one.name === name)) continue;
  test.skip(`three nodes over the ${name}: ${absent ?? "npm run proof runs it"}`, () => undefined);
}

/** What each node says to an agent's next request. */
function everywhere(agent: string): Promise<string[]> {
  return Promise.all(NODES.map((name) => now(name, agent)));
}

async function now(node: string, agent: string): Promise<string> {
  const [answer] = await firstAnswers(mesh.door(node), agent, { until: () => true });
  return answer ?? "none";
}

/** Puts a bundle into the stream that a coordinator of this version would not take. */
async function appendBundle(body: Uint8Array): Promise<void> {
  const { home } = mesh.coordinator;
  const signer = fileKeys(home).load("operator");
  if (signer === undefined) throw new Error("no operator's key");
  const path = join(home, "coordinator.sock");
  const client = createGrpcClient(CoordinatorService, { kind: "unix", path });
  const bus = await connectNatsBus({ url: mesh.nats.url, name: "another coordinator" });
  try {
    const { mesh: name, v, hash: prev } = await client.calls.getScope({ scope: "policy" });
    const sha256 = createHash("sha256").update(body).digest();
    const value = create(PolicySchema, { sha256, size: BigInt(body.length), body });
    const op = { case: "policy", value } as const;
    const [cmdId, operator] = [randomUUID(), "sre"];
    const next = { mesh: name, scope: "policy", v: Number(v) + 1, prev, cmdId, operator, op };
    const record = signRecord({ ...next, issuedAtMs: Date.now() }, signer);
    const subject = controlSubject({ kind: "policy" });
    const last = await bus.last(CONTROL_STREAM, subject);
    await bus.append(subject, record, { msgId: cmdId, expectSeq: last?.seq ?? 0 });
  } finally {
    client.close();
    await bus.close();
  }
}

type Delegated = {
  readonly node: string;
  readonly status: number;
  readonly key: string;
  readonly reason: string | null;
};

const BUCKET = { b: 1_000_000, n: 1_000_000, w: 1 };
const RATE = { req: BUCKET, tok: BUCKET, usd_u: BUCKET };
const PART = { b: 300_000, n: 300_000, w: 1 };

/** A contract of so many calls that n1 holds, or another node, on somebody's behalf; its key. */
async function issueRoot(calls: number, person = "user:alice", node = "n1"): Promise<string> {
  const grant = {
    budget: { calls, tok: 10_000_000, usd_u: 20_000_000 },
    class: { scheme: "public.internal.confidential.restricted", lvl: 2, cmp: [] },
    geo: { src: ["DE"], proc: ["US", "EU"], egr: ["US", "EU"] },
    models: ["openai/gpt-5-mini"],
    rate: RATE,
    time: [],
    tools: {},
  };
  const folder = mkdtempSync(join(tmpdir(), "alt-grant-"));
  const file = join(folder, "grant.json");
  writeFileSync(file, JSON.stringify(grant));
  const words = ["contract", "issue", AGENT, "--grant", file, "--node", node];
  const said = await mesh.mustCli("--json", ...words, "--sub", person);
  rmSync(folder, { recursive: true });
  return JSON.parse(said).key;
}

/** Where a node keeps the keys under which persons stand in its log. */
function personsOf(node: string): string {
  return join(mesh.node(node).home, "node", "persons", "keys");
}

function keepsKeyOf(node: string, person: string): boolean {
  return readFileSync(personsOf(node)).includes(person);
}

function send(node: string, path: string, key: string, body: unknown): Promise<Response> {
  return fetch(`${mesh.door(node).gateway}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function delegateCalls(key: string, node: string, calls: number): Promise<Delegated> {
  const budget = { calls, tok: 1_000_000, usd_u: 2_000_000 };
  const grant = { budget, rate: { req: PART, tok: PART, usd_u: PART } };
  const response = await send("n1", "/altrace/v1/delegations", key, { node, grant });
  const said = (await response.json()) as { readonly key: string };
  const reason = response.headers.get("x-altrace-reason");
  return { node, status: response.status, key: said.key, reason };
}

const chat = (node: string, key: string) =>
  send(node, "/v1/chat/completions", key, {
    model: "gpt-5-mini",
    max_tokens: 20,
    messages: [{ role: "user", content: "say: hello" }],
  });

/** How many requests it takes until there is no money left; a bucket that is still filling is waited for. */
async function spendAll(node: string, key: string): Promise<number> {
  for (let done = 0; ; ) {
    const response = await chat(node, key);
    await response.text();
    if (response.status === 200) done += 1;
    else if (response.status === 402) return done;
    else expect(response.status, response.headers.get("x-altrace-reason") ?? "").toBe(429);
  }
}

/** The keys of n3, from before anybody was erased. */
const backup = join(mkdtempSync(join(tmpdir(), "alt-persons-")), "keys");
afterAll(() => rmSync(dirname(backup), { recursive: true }));

const all = (said: string) => NODES.map(() => said);

describe.each(RUN)("three nodes over the $name", ({ program }) => {
  beforeAll(async () => {
    provider = await startProvider();
    mesh = await startMesh({
      nodes: NODES.length,
      policy: e2ePolicy(provider.origin),
      nodeEnv: { ...PROVIDER_KEYS, ALTRACE_REGION: "DE", ALTRACE_AUDIT_PERSONS_DAYS: "30" },
      natsProgram: program,
    });
    await mesh.issueKey(AGENT);
    await mesh.issueKey(OTHER);
  });
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
  });

  test("serve the same agents under the same policy", async () => {
    await waitUntil(
      "the keys",
      async () => (await everywhere(AGENT)).join() === all("200 ok").join(),
    );
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
    // A heartbeat tells how far a node is, and comes every two seconds.
    let shown = "";
    await waitUntil(
      () => `three nodes in sync:\n${shown}`,
      async () => {
        shown = await mesh.mustCli("nodes");
        return NODES.every((name) => new RegExp(`^${name} +live +open +in sync `, "m").test(shown));
      },
    );
  });

  test("18: give two workers on two nodes no more than their delegator had", async () => {
    const root = await issueRoot(10);
    // Both at once, each for more than half.
    const first = await Promise.all(["n2", "n3"].map((node) => delegateCalls(root, node, 6)));
    expect(first.map(({ status }) => status).sort()).toEqual([201, 402]);
    const refused = first.find(({ status }) => status === 402);
    expect(refused?.reason).toBe("delegation_budget");
    const rest = await delegateCalls(root, refused?.node ?? "", 4);
    expect(rest.status).toBe(201);
    const [won] = first.filter(({ status }) => status === 201);
    const workers = [won, rest].map((one) => one as Delegated);
    // Each spends all that it has, both at the same time; none is served by another's node.
    const spent = await Promise.all(workers.map(({ node, key }) => spendAll(node, key)));
    expect(spent).toEqual([6, 4]);
    for (const { node, key } of workers) {
      const [elsewhere = ""] = NODES.filter((name) => name !== node);
      expect((await chat(elsewhere, key)).headers.get("x-altrace-reason")).toBe("key_unknown");
    }
    expect(await spendAll("n1", root)).toBe(0);
  }, 120_000);

  test("erase a person, for whom they all worked, by one order of an operator", async () => {
    expect((await chat("n3", await issueRoot(1, "user:bob", "n3"))).status).toBe(200);
    copyFileSync(personsOf("n3"), backup);
    for (const name of NODES) expect(keepsKeyOf(name, "user:alice")).toBe(true);
    const { code, stdout } = await mesh.cli("audit", "redact", "user:alice");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^redaction\/[0-9a-f-]{36} {2}committed {2}erased 3\/3$/m);
    for (const name of NODES) {
      expect(stdout).toMatch(new RegExp(`^ {2}${name} +erased [12] keys$`, "m"));
      expect(keepsKeyOf(name, "user:alice")).toBe(false);
    }
    expect(keepsKeyOf("n3", "user:bob")).toBe(true);
  });

  test("acknowledge a kill one by one, and cut the streams that run on any of them", async () => {
    provider.script("held-on-n2", { pieces: ["begun "], held: true });
    const stream = await openaiOf(mesh.door("n2"), AGENT).chat.completions.create({
      model: "gpt-5-mini",
      messages: [{ role: "user", content: "script held-on-n2" }],
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    const { code, stdout } = await mesh.cli("kill", "team/research", "--wait");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^team\/research {2}(accepted|committed) {2}enforced 3\/3 {2}closed 3\/3 {2}durable 3\/3$/m,
    );
    for (const name of NODES) {
      expect(stdout).toMatch(
        new RegExp(`^ {2}${name} +enforced .* ms +closed .* ms +durable .* ms`, "m"),
      );
    }
    const failure = await failureOf(
      Array.fromAsync({ [Symbol.asyncIterator]: () => chunks }),
      OpenAI.APIError,
    );
    expect(failure.code).toBe("killed_team");
    expect(await everywhere(AGENT)).toEqual(all("403 killed_team"));
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
  });

  test("after SIGKILL of everything and with NATS down start closed, and say why", async () => {
    const before = provider.received.length;
    await mesh.crash();
    for (const node of mesh.nodes) mesh.launch(node);
    for (const node of mesh.nodes) {
      const readiness = await waitUntil(`${node.name} to say why it is closed`, async () => {
        // Until its mesh thread has looked for the server, all that it can say is that it has not.
        const said = await mesh.readiness(node);
        return /bus_down|no_digest/.test(said) && said;
      });
      expect(readiness).toMatch(/^503 /);
      // Whom it knows to be killed it still refuses by name; of all others it cannot know.
      expect(await now(node.name, AGENT)).toBe("403 killed_team");
      expect(await now(node.name, OTHER)).toBe("503 mesh_stale");
    }
    expect(provider.received.length).toBe(before);
  });

  test("open by themselves when NATS and the coordinator are back, and the kill still stands", async () => {
    const before = provider.received.length;
    await mesh.nats.restart();
    mesh.launch(mesh.coordinator);
    let areOpen = false;
    const watched = NODES.map((name) =>
      firstAnswers(mesh.door(name), AGENT, { until: () => areOpen, atLeast: 20 }),
    );
    await mesh.whenReady();
    areOpen = true;
    for (const answers of await Promise.all(watched)) {
      expect(new Set(answers)).toEqual(new Set(["403 killed_team"]));
    }
    expect(provider.received.length).toBe(before);
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
    expect(await mesh.mustCli("kills")).toMatch(/^team\/research .* committed/m);
  });

  test("a node that missed orders while it was down keeps them from its first request on", async () => {
    const { nodes } = mesh;
    const [third] = nodes.slice(2);
    if (third === undefined) throw new Error("there are three nodes");
    await third.process?.end("SIGKILL");
    // It may still believe what it knew, so the operator is not told that all is well.
    const waited = await mesh.cli("kill", "team/support", "--wait", "--timeout", "2");
    expect(waited.code).toBe(1);
    expect(waited.stderr).toMatch(/did not reach every node in time: .* enforced [0-2]\/3 /);
    await waitUntil("the others", async () => (await now("n1", OTHER)) === "403 killed_team");
    // Whoever is erased may be erased again: the two may be busy for longer than this one waits.
    await waitUntil("the others to have erased him", async () => {
      const { code, stderr } = await mesh.cli("audit", "redact", "user:bob", "--timeout", "1");
      expect(code).toBe(1);
      return /erased 2\/3; waited for n3$/m.test(stderr);
    });
    // Who was erased long ago comes back as well, as from a backup.
    copyFileSync(backup, personsOf("n3"));
    const before = provider.received.length;
    mesh.launch(third);
    const answers = await firstAnswers(mesh.door("n3"), OTHER, {
      until: (answer) => answer === "403 killed_team",
    });
    expect(new Set(answers).has("200 ok")).toBe(false);
    expect(provider.received.length).toBe(before);
    await mesh.whenReady();
    for (const person of ["user:alice", "user:bob"]) {
      await waitUntil(`${person} is erased`, async () => !keepsKeyOf("n3", person));
    }
    await mesh.mustCli("revive", "team/support", "--wait");
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
  });

  test("let the team go on after a revive that all have acknowledged", async () => {
    const { code, stdout } = await mesh.cli("revive", "team/research", "--wait");
    expect(code).toBe(0);
    expect(stdout).toContain("durable 3/3");
    // Its rate is divided anew: nodes without a share of it say when to come back, and let nothing else
    // stand in the way.
    const said = new Set<string>();
    await waitUntil("a share of its rate on each node", async () => {
      const answers = await everywhere(AGENT);
      for (const answer of answers) said.add(answer);
      return answers.join() === all("200 ok").join();
    });
    said.delete("429 rate_requests");
    expect([...said]).toEqual(["200 ok"]);
  });

  test("keep what a removed key opened shut everywhere", async () => {
    const issued = JSON.parse(await mesh.mustCli("key", "issue", AGENT, "--json")) as {
      readonly id: string;
      readonly key: string;
    };
    const held = (name: string) => ({ ...mesh.door(name), key: () => issued.key });
    for (const name of NODES) {
      await firstAnswers(held(name), AGENT, { until: (answer) => answer === "200 ok" });
    }
    await mesh.mustCli("key", "revoke", issued.id);
    for (const name of NODES) {
      const answers = await firstAnswers(held(name), AGENT, {
        until: (answer) => answer !== "200 ok",
      });
      expect(answers.at(-1)).toMatch(/^401 key_(revoked|unknown)$/);
    }
  });

  test("keep their policy where the next cannot be put in force, and each says why", async () => {
    using folder = tempDir();
    const file = join(folder.path, "policy.yaml");
    const policy = e2ePolicy(provider.origin);
    const apply = () => mesh.mustCli("policy", "apply", file, "--wait");
    // More than a message carries: its parts come from the stream.
    const tools = Array.from({ length: 12 }, (_, no) => `${"t".repeat(50)}-${no}: [call]`).join(
      ", ",
    );
    const fleet = Array.from(
      { length: 750 },
      (_, no) => `      fleet-${no}: { tools: { ${tools} } }\n`,
    );
    writeFileSync(
      file,
      policy.replace("      worker-2: {}\n", (one) => one + fleet.join("")),
    );
    const [, bytes = "0"] =
      /ok, (\d+) bytes/.exec(await mesh.mustCli("policy", "check", file)) ?? [];
    expect(Number(bytes)).toBeGreaterThan(BODY_BYTES_MAX);
    expect(await apply()).toMatch(/^in force 3\/3$/m);
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
    writeFileSync(file, policy);
    expect(await apply()).toMatch(/^in force 3\/3$/m);
    // Signed by the operator, and of a format that only later nodes know.
    await appendBundle(Buffer.from('{"format":9}'));
    let shown = "";
    await waitUntil(
      () => `three refusals:\n${shown}`,
      async () => {
        shown = await mesh.mustCli("nodes");
        return NODES.every((name) =>
          new RegExp(`^${name} refuses policy \\d+: format: 9 is`, "m").test(shown),
        );
      },
    );
    expect(await everywhere(OTHER)).toEqual(all("200 ok"));
    expect(await apply()).toMatch(/^in force 3\/3$/m);
    expect(await mesh.mustCli("nodes")).not.toContain("refuses");
  });

  test.runIf(proofCount("containment", { small: 0, full: 1 }).count > 0)(
    "count one that stays away as contained once its dead-man switch has closed it",
    async () => {
      await mesh.node("n2").process?.end("SIGKILL");
      const { code, stdout } = await mesh.cli("kill", "team/edges", "--wait");
      expect(code).toBe(0);
      expect(stdout).toContain("durable 2/3  contained 1/3");
      expect(stdout).toMatch(/^ {2}n2 +silent +contained since +\d{4}-/m);
      mesh.launch(mesh.node("n2"));
      await mesh.whenReady();
      await mesh.mustCli("revive", "team/edges", "--wait");
    },
  );

  test("that cannot reach the coordinator close when their dead-man switch is due", async () => {
    await mesh.coordinator.process?.end("SIGKILL");
    // Every node had a digest a second ago, and may believe it for twelve. Meanwhile it spends what
    // it was lent.
    for (const name of NODES) {
      const answers = await firstAnswers(mesh.door(name), OTHER, {
        until: (answer) => answer === "503 mesh_stale",
        mayDiffer: true,
      });
      expect(["200 ok", "503 budget_unavailable", "503 mesh_stale"]).toEqual(
        expect.arrayContaining([...new Set(answers)]),
      );
    }
    expect(await mesh.readiness(mesh.node("n1"))).toMatch(/^503 digest_old/);
  });
});
