import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { runProgram } from "../../cli/program.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const SCHEME = "public.internal.confidential.restricted";
const GRANT = {
  budget: { calls: 1_000, tok: 10_000_000, usd_u: 20_000_000 },
  class: { scheme: SCHEME, lvl: 2, cmp: [] },
  geo: { src: ["DE"], proc: ["US", "EU"], egr: ["US", "EU"] },
  models: ["openai/gpt-5-mini", "openai/gpt-4o-mini"],
  rate: bucketsOf(1_000),
  time: [],
  tools: { web_search: ["call"] },
};
/** A tenth of the money and half of the rate; the rest as the delegator has it. */
const PART = {
  budget: { calls: 100, tok: 1_000_000, usd_u: 2_000_000 },
  rate: bucketsOf(500),
};

function bucketsOf(perSecond: number) {
  const bucket = (times: number) => ({ b: perSecond * times, n: perSecond * times, w: 1 });
  return { req: bucket(1), tok: bucket(1_000), usd_u: bucket(1_000) };
}

let altrace: Altrace;
let provider: Provider;
const folder = mkdtempSync(join(tmpdir(), "alt-contracts-"));

beforeAll(async () => {
  provider = await startProvider();
  altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: {
      ...PROVIDER_KEYS,
      ALTRACE_DRAIN_MS: "500",
      ALTRACE_REGION: "DE",
      ALTRACE_AUDIT_PERSONS_DAYS: "1",
    },
  });
});
afterAll(async () => {
  await altrace[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

type Redacted = { readonly kid: string; readonly rc: string };
type Contract = { readonly contract: string; readonly key: string; readonly chain: string };

/** A command line, read and carried out in this process: what is shown here is not its start. */
async function cli(...words: string[]) {
  const said = { out: "", err: "" };
  const into = (stream: keyof typeof said) => ({
    write: (text: string) => {
      said[stream] += text;
    },
  });
  const code = await runProgram(["--home", altrace.home, "--json", ...words], {
    env: { USER: "tester" },
    streams: { out: into("out"), err: into("err") },
    version: "test",
    untilSignal: new Promise(() => undefined),
    abort: () => undefined,
  });
  return { code, stderr: said.err, said: said.out === "" ? undefined : JSON.parse(said.out) };
}

async function issue(grant: object = GRANT, ...more: string[]): Promise<Contract> {
  const file = join(folder, "grant.json");
  writeFileSync(file, JSON.stringify(grant));
  const agent = "research/worker-1";
  const { code, said, stderr } = await cli("contract", "issue", agent, "--grant", file, ...more);
  expect(code, stderr).toBe(0);
  return said;
}

function post(path: string, key: string, body: unknown): Promise<Response> {
  return fetch(`${altrace.gateway}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

const chat = (key: string, over: object = {}) =>
  post("/v1/chat/completions", key, {
    model: "gpt-5-mini",
    max_tokens: 50,
    messages: [{ role: "user", content: "say: hello" }],
    ...over,
  });

const HELLO = {
  method: "POST",
  body: JSON.stringify({
    model: "gpt-5-mini",
    max_tokens: 50,
    messages: [{ role: "user", content: "say: hello" }],
  }),
};

/** A key that an agent makes for itself, in a file of its own. */
function ownKey(name: string): { readonly file: string; readonly x: string } {
  const { privateKey } = generateKeyPairSync("ed25519");
  const file = join(folder, `${name}.pem`);
  writeFileSync(file, privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  return { file, x: privateKey.export({ format: "jwk" }).x as string };
}

const delegate = (key: string, wish: unknown) => post("/altrace/v1/delegations", key, wish);

/** Repeats what was refused for rate: a bucket is born empty, and fills at its own rate. */
async function oncePaced(ask: () => Promise<Response>): Promise<Response> {
  for (;;) {
    const response = await ask();
    if (response.status !== 429) return response;
    expect(response.headers.get("x-altrace-stage")).toBe("rate");
    await response.text();
    const waitMs = Number(response.headers.get("retry-after-ms"));
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, waitMs)));
  }
}

async function delegated(key: string, wish: unknown): Promise<Contract> {
  const response = await delegate(key, wish);
  const body = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(201);
  return body as Contract;
}

const reasonOf = (response: Response) => response.headers.get("x-altrace-reason");

describe("contracts", () => {
  test("a root's key works within its contract, and a worker's within less", async () => {
    const root = await issue();
    expect((await chat(root.key)).status).toBe(200);
    const worker = await delegated(root.key, {
      grant: { ...PART, models: ["openai/gpt-5-mini"], tools: {} },
    });
    const allowed = await oncePaced(() => chat(worker.key));
    expect(allowed.status).toBe(200);
    const id = allowed.headers.get("x-request-id") ?? "";
    const tools = [{ type: "function", function: { name: "web_search", parameters: {} } }];
    expect((await chat(root.key, { tools })).status).toBe(200);
    const refused = await oncePaced(() => chat(worker.key, { tools }));
    expect([refused.status, reasonOf(refused)]).toEqual([403, "tool_not_granted"]);

    const { said } = await cli("explain", id);
    expect(said.contract).toMatchObject({
      id: worker.contract,
      root: root.contract,
      depth: 1,
      chain: [{ contract: root.contract }, { contract: worker.contract }],
    });
    const { granted } = said.contract.chain[1];
    expect(granted.models).toEqual(["openai/gpt-5-mini"]);
    expect(granted.exp).toBeGreaterThan(granted.nbf);
    const [record] = said.records;
    expect(record.c).toEqual({ id: worker.contract, root: root.contract, d: 1 });
    expect(record.hold.acct).toBe(`contract/${worker.contract}`);
  });

  test("a person is found in the log until an operator has their key erased, and it verifies still", async () => {
    const { key } = await issue(GRANT, "--sub", "user:alice");
    expect((await chat(key)).status).toBe(200);
    const query = (...words: string[]) => cli("audit", "query", "--persons", ...words);
    const { records, persons } = await waitUntil("their records", async () => {
      const { said } = await query("--person", "user:alice");
      return said?.records.length > 1 ? said : undefined;
    });
    const [{ rid, sp }] = records;
    const keysFile = join(altrace.home, "node", "persons", "keys");
    const backup = readFileSync(keysFile);
    expect(persons).toEqual({ [sp]: "user:alice" });
    const redacted = await cli("audit", "redact", "user:alice", "--reason", "asked_for");
    const command = { nodesTotal: 1, nodesClosed: 1, done: true };
    expect(redacted).toMatchObject({ code: 0, said: { command } });
    expect((await query("--person", "user:alice")).code).toBe(1);
    const { said } = await query("--request", rid);
    expect(said).toMatchObject({ records: [{ sp }, { sp }], persons: { [sp]: "redacted" } });
    expect((await chat(key)).status).toBe(200);
    await waitUntil("the order's own record", async () => {
      const { said } = await query("--kind", "redact");
      return said.records.some(({ kid, rc }: Redacted) => kid === sp && rc === "asked_for");
    });
    const orders = (await query("--kind", "command", "--operator", "tester")).said.records;
    expect(orders).toContainEqual(expect.objectContaining({ op: "redact", why: "asked_for" }));
    const again = await waitUntil("what they asked for since", async () => {
      const { said } = await query("--person", "user:alice");
      return said?.records[0]?.sp;
    });
    expect(again).not.toBe(sp);
    expect(await cli("audit", "verify")).toMatchObject({ code: 0, said: { ok: true } });
    // The keys come back, as from a backup: the log has said that they are erased.
    writeFileSync(keysFile, backup);
    expect((await query("--person", "user:alice")).code).toBe(1);
    const restored = (await query("--request", rid)).said;
    expect(restored.persons).toEqual({ [sp]: "redacted" });
  });

  test("a delegation that is too wide is refused whole, with what would have fitted", async () => {
    const root = await issue();
    const refusals: readonly [unknown, number, string, RegExp][] = [
      [
        { grant: { ...PART, budget: { ...PART.budget, calls: 1_001 } } },
        403,
        "delegation_widens",
        /budget: asked .*1001.*"calls":1000.*would have fitted/,
      ],
      [
        { grant: { ...PART, models: ["anthropic/*"] } },
        403,
        "delegation_widens",
        /models: asked \["anthropic\/\*"\], \[\] would have fitted/,
      ],
      [
        { grant: { ...PART, geo: { ...GRANT.geo, src: ["FR"], proc: ["US"], egr: ["US"] } } },
        403,
        "delegation_widens",
        /geo: asked/,
      ],
      [{ grant: PART, ttl_s: 9 * 3600 }, 403, "delegation_widens", /time: asked/],
      [{ grant: { ...PART, rate: bucketsOf(1_001) } }, 403, "delegation_widens", /rate: asked/],
      [
        { grant: { budget: GRANT.budget, rate: GRANT.rate } },
        403,
        "delegation_not_narrower",
        /strictly less/,
      ],
      [{ grant: { budget: PART.budget } }, 400, "malformed_request", /grant.rate is missing/],
      [{ grant: PART, agent: "support/worker-1" }, 403, "delegation_holder", /another team/],
      [{ grant: PART, node: "nobody" }, 403, "delegation_holder", /node nobody/],
      [{ grants: PART }, 400, "malformed_request", /grants is not known/],
    ];
    for (const [wish, status, reason, message] of refusals) {
      const response = await delegate(root.key, wish);
      const { error } = (await response.json()) as { error: { message: string } };
      expect([response.status, reasonOf(response)], error.message).toEqual([status, reason]);
      expect(error.message).toMatch(message);
    }
  });

  test("money is moved: two workers cannot both have what is there once", async () => {
    const root = await issue();
    const most = { ...PART, budget: { calls: 10, tok: 100_000, usd_u: 15_000_000 } };
    await delegated(root.key, { grant: most });
    const second = await delegate(root.key, { grant: most });
    expect([second.status, reasonOf(second)]).toEqual([402, "delegation_budget"]);
    expect(await second.text()).toMatch(/asked 15000000 usd_micros, 5000000 would have fitted/);
    const { said } = await cli("contract", "tree", root.contract);
    expect(said.contracts).toMatchObject([
      {
        contract: root.contract,
        usd_u: { limit: 20_000_000, children: 15_000_000 },
        tok: { children: 100_000 },
        calls: { children: 10 },
      },
      {
        parent: root.contract,
        depth: 1,
        usd_u: { limit: 15_000_000 },
        tok: { limit: 100_000, available: 100_000 },
        calls: { limit: 10, available: 10 },
      },
    ]);
  });

  test("an operator's limit takes from what was delegated, and adds nothing to it", async () => {
    const root = await issue();
    const { contract } = await delegated(root.key, { grant: PART });
    const limit = (amount: string) =>
      cli("budget", "top-up", `contract/${contract}`, "total", "usd", amount);
    const more = await limit("2.01");
    expect(more).toMatchObject({ code: 1, stderr: expect.stringContaining("limit_above_grant") });
    expect(more.stderr).toContain("was granted 2000000 usd_micros");
    expect((await limit("1.5")).code).toBe(0);
    const shown = await cli("budget", "show", `contract/${contract}`);
    expect(shown.said.accounts).toContainEqual(
      expect.objectContaining({ window: "total", limit: "1500000" }),
    );
  });

  test("rate is moved too, and a chain is as deep as its root lets it be", async () => {
    const root = await issue(GRANT, "--max-depth", "1");
    const worker = await delegated(root.key, { grant: PART });
    const more = await delegate(root.key, { grant: { ...PART, rate: bucketsOf(501) } });
    expect([more.status, reasonOf(more)]).toEqual([403, "delegation_rate"]);
    const grant = { budget: { calls: 1, tok: 1, usd_u: 1 }, rate: bucketsOf(1) };
    const deeper = await oncePaced(() => delegate(worker.key, { grant }));
    expect([deeper.status, reasonOf(deeper)]).toEqual([403, "delegation_too_deep"]);
  });

  test("revoking a contract ends what streams below it, and nothing below is served again", async () => {
    const root = await issue();
    const worker = await delegated(root.key, { grant: PART });
    provider.script("held", { held: true });
    const messages = [{ role: "user", content: "script held" }];
    const stream = await oncePaced(() => chat(worker.key, { stream: true, messages }));
    expect(stream.status).toBe(200);
    const text = stream.text();
    expect((await cli("contract", "revoke", root.contract)).code).toBe(0);
    for (const { key } of [root, worker]) {
      const refused = await chat(key);
      expect([refused.status, reasonOf(refused)]).toEqual([403, "killed_contract"]);
      const delegation = await delegate(key, { grant: PART });
      expect(reasonOf(delegation)).toBe("killed_contract");
    }
    // The provider never ends it: that it ended at all, and for that reason, is the revocation's doing.
    expect(await text).toContain("killed_contract");
    const again = await cli("contract", "revoke", root.contract);
    expect(again.code).toBe(0);
    const kills = await cli("kills");
    expect(JSON.stringify(kills.said)).toContain(`contract/${root.contract}`);
  });

  test("a kill of an agent ends what it delegated to others, until it is revived", async () => {
    const root = await issue();
    const worker = await delegated(root.key, { agent: "research/worker-2", grant: PART });
    provider.script("held", { held: true });
    const messages = [{ role: "user", content: "script held" }];
    const stream = await oncePaced(() => chat(worker.key, { stream: true, messages }));
    expect(stream.status).toBe(200);
    const text = stream.text();
    expect((await cli("kill", "agent/research/worker-1", "--wait")).code).toBe(0);
    const refused = await chat(worker.key);
    expect([refused.status, reasonOf(refused)]).toEqual([403, "killed_contract"]);
    expect(await text).toContain("killed_contract");
    // Its own key has nothing to do with it.
    expect((await chat(altrace.key("research/worker-2"))).status).toBe(200);
    expect((await cli("revive", "agent/research/worker-1", "--wait")).code).toBe(0);
    expect((await oncePaced(() => chat(worker.key))).status).toBe(200);
  });

  test("a key that is bound to an address counts from no other", async () => {
    const { key } = await issue(GRANT, "--source", "192.0.2.7");
    const refused = await chat(key);
    expect([refused.status, reasonOf(refused)]).toEqual([403, "contract_source"]);
    const own = await issue(GRANT, "--source", "127.0.0.1");
    expect((await chat(own.key)).status).toBe(200);
  });

  test("an agent with a key of its own proves it, delegates offline, and has that funded", async () => {
    const [planner, worker] = [ownKey("planner"), ownKey("worker")];
    const root = await issue(GRANT, "--holder", planner.x);
    expect(root.key).toBeUndefined();
    const url = `${altrace.gateway}/v1/chat/completions`;
    const own = ["--key", planner.file, "--chain", root.chain];
    const prove = async (words: readonly string[]) => {
      const { said, stderr } = await cli("contract", "prove", ...words, "--url", url);
      expect(stderr).toBe("");
      return said as { readonly authorization: string; readonly dpop: string };
    };
    const headers = await prove(own);
    const ask = (more: Record<string, string>) => fetch(url, { ...HELLO, headers: more });
    const json = { "content-type": "application/json" };
    const first = await ask({ ...headers, ...json });
    expect(first.status).toBe(200);
    expect(first.headers.get("dpop-nonce")).not.toBeNull();
    const again = await ask({ ...headers, ...json });
    expect([again.status, reasonOf(again)]).toEqual([401, "proof_replayed"]);
    // The contract alone, as whoever read a log has it.
    const stolen = await ask({ authorization: headers.authorization, ...json });
    expect([stolen.status, reasonOf(stolen)]).toEqual([401, "proof_missing"]);
    expect(stolen.headers.get("www-authenticate")).toContain("use_dpop_nonce");

    const part = join(folder, "part.json");
    writeFileSync(part, JSON.stringify({ ...PART, models: ["openai/gpt-5-mini"] }));
    const wish = ["--holder", worker.x, "--grant", part];
    const child = (await cli("contract", "delegate", "--offline", ...own, ...wish)).said;
    const shown = ["--key", worker.file, "--chain", child.chain];
    const early = await cli("contract", "prove", ...shown, "--url", url);
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("contract_unfunded")]);
    const at = ["--gateway", altrace.gateway];
    const funded = await cli("contract", "fund", ...own, "--child", child.chain, ...at);
    expect(funded.stderr).toBe("");
    const allowed = await oncePaced(async () => {
      return ask({ ...(await prove(shown)), ...json });
    });
    expect(allowed.status).toBe(200);
    const { said } = await cli("contract", "tree", root.contract);
    expect(said.contracts).toMatchObject([
      { contract: root.contract, usd_u: { children: 2_000_000 } },
      { contract: child.contract, parent: root.contract },
    ]);
    // What another one delegated is not its to fund, and no node signs with its key.
    const own2 = ["--key", worker.file, "--chain", child.chain];
    const others = await cli("contract", "fund", ...own2, "--child", child.chain, ...at);
    expect(others.stderr).toContain("contract_parent");
  });

  test("an operator has it funded, and the delegator goes without that rate from then on", async () => {
    const [planner, worker] = [ownKey("lead"), ownKey("hand")];
    const root = await issue(GRANT, "--holder", planner.x);
    const url = `${altrace.gateway}/v1/chat/completions`;
    const ask = async (key: { readonly file: string }, chain: string) => {
      const words = ["--key", key.file, "--chain", chain, "--url", url];
      const { said } = await cli("contract", "prove", ...words);
      return fetch(url, { ...HELLO, headers: { ...said, "content-type": "application/json" } });
    };
    expect((await ask(planner, root.chain)).status).toBe(200);
    const part = join(folder, "all-of-it.json");
    writeFileSync(part, JSON.stringify({ ...PART, rate: GRANT.rate }));
    const wish = ["--holder", worker.x, "--grant", part];
    const own = ["--key", planner.file, "--chain", root.chain];
    const { chain, contract } = (await cli("contract", "delegate", "--offline", ...own, ...wish))
      .said;
    const path = join(altrace.home, "coordinator.sock");
    const { calls, close } = createGrpcClient(CoordinatorService, { kind: "unix", path });
    for (const _twice of ["carved", "known"]) {
      const opened = await calls.delegate({ chain });
      expect(opened.contract).toMatchObject({ contract, parent: root.contract, state: "open" });
    }
    await expect(calls.delegate({ chain: root.chain })).rejects.toThrow(/contract_order|delegated/);
    close();
    const without = await ask(planner, root.chain);
    expect([without.status, reasonOf(without)]).toEqual([429, "rate_requests"]);
    expect((await oncePaced(() => ask(worker, chain))).status).toBe(200);
  });

  test("a key without a contract cannot delegate, and one that nobody made is unknown", async () => {
    const without = await delegate(altrace.key("research/worker-2"), { grant: PART });
    expect([without.status, reasonOf(without)]).toEqual([403, "delegation_without_contract"]);
    const unknown = await chat(`altk_ct00000000_${"A".repeat(43)}`);
    expect([unknown.status, reasonOf(unknown)]).toEqual([401, "key_unknown"]);
  });

  test("a chain is verified offline, and one that was tampered with is not", async () => {
    const { chain, contract } = await issue();
    const good = await cli("contract", "verify", chain);
    expect(good.said).toMatchObject({ verified: true, chain: [{ contract }] });
    const [head, payload = "", signature] = chain.split(".");
    const other = Buffer.from(payload, "base64url")
      .toString()
      .replace('"calls":1000', '"calls":9000');
    const forged = [head, Buffer.from(other).toString("base64url"), signature].join(".");
    const bad = await cli("contract", "verify", forged);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining("contract_signature")]);
  });

  test("contracts, their money and their revocation are there after a crash", async () => {
    const root = await issue();
    const worker = await delegated(root.key, { grant: PART });
    const other = await issue();
    await cli("contract", "revoke", other.contract);
    await altrace.process.end("SIGKILL");
    await altrace.start();
    expect((await chat(root.key)).status).toBe(200);
    expect((await oncePaced(() => chat(worker.key))).status).toBe(200);
    expect(reasonOf(await chat(other.key))).toBe("killed_contract");
  });
});
