import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import type { CallRecord, CommandRecord } from "../../audit/record.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS, startProcess } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

let provider: Provider;
let altrace: Altrace;
/** What an auditor was given: keys once, and a copy of the log. */
const auditor = tempDir();
const copy = join(auditor.path, "copy");
const keys = join(auditor.path, "keys");
let rid = "";

/** What the node told of its refusals, as it was verified; the receiver is out of order at first. */
const SECRET = Buffer.alloc(32, 5).toString("base64");
const alerts: { id: unknown; data: { agent: string; reason: string; count: number } }[] = [];
const refusedAlerts: unknown[] = [];
const receiver = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString("utf8");
  const id = request.headers["webhook-id"];
  const verified = new Webhook(SECRET).verify(body, request.headers as Record<string, string>);
  if (refusedAlerts.length === 0) {
    refusedAlerts.push(id);
    response.writeHead(503).end();
    return;
  }
  alerts.push({ id, ...(verified as { data: (typeof alerts)[number]["data"] }) });
  response.end();
});

beforeAll(async () => {
  provider = await startProvider();
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const webhook = {
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
    secret: `whsec_${SECRET}`,
    ranges: ["127.0.0.0/8"],
  };
  const file = join(auditor.path, "webhook.json");
  writeFileSync(file, JSON.stringify(webhook), { mode: 0o600 });
  const env = { ...PROVIDER_KEYS, ALTRACE_WEBHOOK_FILE: file };
  altrace = await startAltrace({ policy: e2ePolicy(provider.origin), env });
  const answer = await fetch(`${altrace.gateway}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${altrace.key("research/worker-1")}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ model: "no-such-model", messages: [{ role: "user", content: "hi" }] }),
  });
  rid = answer.headers.get("x-request-id") ?? "";
  writeFileSync(keys, (await here("audit", "keys")).stdout);
  await waitUntil("a checkpoint over the request", async () => {
    const { stdout } = await here("audit", "query", "--request", rid, "--json");
    return stdout.includes(rid) || undefined;
  });
  cpSync(join(altrace.home, "node", "log"), copy, { recursive: true });
});
afterAll(async () => {
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
  receiver.close();
  auditor[Symbol.dispose]();
});

test("a refusal is told to the operator's receiver, signed, until it is taken", async () => {
  await waitUntil("the alert", () => alerts.length > 0);
  const [alert] = alerts;
  expect(refusedAlerts).toEqual([alert?.id]);
  expect(alert).toMatchObject({ data: { agent: "research/worker-1", reason: "model_unknown" } });
});

function here(...words: string[]) {
  return runHere("--home", altrace.home, ...words);
}

/** The auditor's own machine: no HOME of the mesh, no node, nothing but files. */
async function offline(...words: string[]) {
  const home = join(auditor.path, "no-home");
  const { code, stdout, stderr } = await runHere("--home", home, "--json", ...words);
  return { code, said: stdout === "" ? undefined : JSON.parse(stdout), stderr };
}

test("a log verifies where it was made, and offline from files and keys alone", async () => {
  expect(await here("audit", "verify")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("  ok  "),
  });
  const there = await offline("audit", "verify", "--offline", copy, "--keys", keys);
  expect(there).toMatchObject({ code: 0, said: { ok: true, missing_logs: [] } });
  expect(there.said.logs[0].decisions).toBeGreaterThanOrEqual(1);
});

test("every order of an operator is in the log of the node that carries it out, with who signed it", async () => {
  const policy = join(auditor.path, "next.yaml");
  writeFileSync(policy, e2ePolicy(provider.origin).replace("worker-3: {}", "worker-9: {}"));
  const operator = fileKeys(altrace.home).load("operator")?.kid ?? "";
  const run = async (...words: string[]) => {
    const { code, stdout, stderr } = await here("--json", ...words);
    expect(`${words[0]} ${code} ${stderr}`).toBe(`${words[0]} 0 `);
    return JSON.parse(stdout.trim().split("\n").at(-1) as string);
  };
  await run("kill", "team/edges", "--reason", 'drill "1", as announced', "--wait");
  await run("revive", "team/edges", "--reason", "over", "--wait");
  const { id: keyId } = await run("key", "issue", "research/worker-2");
  await run("key", "revoke", keyId);
  const day = `day:${new Date().toISOString().slice(0, 10)}`;
  await run("budget", "top-up", "agent/edges/poor", day, "usd", "1.00");
  await run("distrust", "set", "openai/gpt-5-mini", "1.25");
  const distrust = await run("distrust", "show", "openai/gpt-5-mini");
  expect(distrust).toMatchObject({ distrust: 1.25, timesSet: 1 });
  await run("policy", "apply", policy, "--wait");
  const asked = async () => {
    const { stdout } = await here("audit", "query", "--kind", "command", "--json");
    return (JSON.parse(stdout).records as CommandRecord[]).map((one) => ({
      order: `${one.op} ${one.scope}`,
      by: one.by,
      why: one.why,
      rec: one.rec,
    }));
  };
  const seen = await waitUntil("the orders under a checkpoint", async () => {
    const all = await asked();
    return all.filter(({ order }) => order === "policy policy").length > 1 ? all : undefined;
  });
  const orders = [
    "kill team/edges",
    "revive team/edges",
    `add key/${keyId}`,
    `remove key/${keyId}`,
    "limit budget/agent/edges/poor",
    "limit distrust/openai/gpt-5-mini",
    "policy policy",
  ];
  expect(seen.map(({ order }) => order)).toEqual(
    expect.arrayContaining([...orders, "trust trust"]),
  );
  const one = (order: string) => seen.find((each) => each.order === order);
  expect(one("kill team/edges")?.why).toBe("drill ?1?, as announced");
  // A kill needs a coordinator's key alone; all that gives is signed by the operator's.
  for (const order of orders.slice(1))
    expect(`${order} ${one(order)?.by}`).toBe(`${order} ${operator}`);
  const { stdout } = await here(
    "audit",
    "query",
    "--scope",
    "team/edges",
    "--kind",
    "kill",
    "--json",
  );
  const enforced = (JSON.parse(stdout).records as { rec: string }[]).map(({ rec }) => rec);
  expect(enforced).toEqual([one("kill team/edges")?.rec, one("revive team/edges")?.rec]);
  expect((await here("audit", "verify")).code).toBe(0);
});

test("what was asked of the coordinator, and which logs there are, is in a log of its own", async () => {
  const keyLine = readFileSync(keys, "utf8").trim();
  const token = await here("--json", "token", "edge-9");
  expect(token.code).toBe(0);
  const { stdout } = await here("audit", "query", "--own", "--kind", "call", "--json");
  const calls = (JSON.parse(stdout).records as CallRecord[]).map(
    ({ op, rc, scope }) => `${op} ${rc} ${scope}`,
  );
  expect(calls).toEqual(
    expect.arrayContaining([
      "start ok undefined",
      "enrol ok node/node-1",
      "kill ok team/edges",
      "revive ok team/edges",
      "apply_policy ok policy",
      "create_enrolment_token ok node/edge-9",
    ]),
  );
  // Listed before it is cosigned for the first time, which is in its own time.
  const listed = await waitUntil("a log that is listed", async () => {
    const { stdout } = await here("audit", "query", "--own", "--kind", "log", "--json");
    const said = JSON.parse(stdout) as { readonly records: readonly unknown[] };
    return said.records.length > 0 ? said : undefined;
  });
  expect(listed).toMatchObject({
    records: expect.arrayContaining([
      expect.objectContaining({ origin: expect.stringContaining("/node-1/e1"), vkey: keyLine }),
    ]),
  });
  const own = join(auditor.path, "own");
  const ownKeys = join(auditor.path, "own.keys");
  writeFileSync(ownKeys, (await here("audit", "keys", "--own")).stdout);
  cpSync(join(altrace.home, "log"), own, { recursive: true });
  const verify = () => offline("audit", "verify", "--offline", own, "--keys", ownKeys);
  expect(await verify()).toMatchObject({ code: 0, said: { ok: true, missing_logs: [] } });
  const files = readdirSync(own, { recursive: true, encoding: "utf8" });
  // Of the bundles that checkpoints were signed over, the widest is the last one's.
  const bundles = files.filter((path) => /entries\/000\.p\/\d+$/.test(path));
  const widthOf = (path: string): number => Number(/\d+$/.exec(path)?.[0]);
  const bundle = join(own, bundles.sort((a, b) => widthOf(b) - widthOf(a))[0] as string);
  writeFileSync(bundle, readFileSync(bundle, "latin1").replace("edge-9", "edge-8"), "latin1");
  expect(await verify()).toMatchObject({ code: 1, said: { ok: false } });
});

test("a changed byte, a withheld log and a stranger's key each end with exit 1 and a name", async () => {
  const changed = join(auditor.path, "changed");
  cpSync(copy, changed, { recursive: true });
  const files = readdirSync(changed, { recursive: true, encoding: "utf8" });
  // Partial bundles of earlier checkpoints may still lie there: the widest is the signed one's.
  const widthOf = (path: string): number => Number(/\d+$/.exec(path)?.[0]);
  const partials = files.filter((path) => /tile\/entries\/000\.p\/\d+$/.test(path));
  const bundle = partials.sort((a, b) => widthOf(b) - widthOf(a))[0] as string;
  const bytes = readFileSync(join(changed, bundle));
  bytes[40] = (bytes[40] as number) ^ 1;
  writeFileSync(join(changed, bundle), bytes);
  const verify = (folder: string, by = keys) =>
    offline("audit", "verify", "--offline", folder, "--keys", by);
  const codesOf = ({ said }: Awaited<ReturnType<typeof verify>>): string[] =>
    said.logs[0].findings.map(({ code }: { code: string }) => code);
  const tampered = await verify(changed);
  expect(tampered.code).toBe(1);
  expect(codesOf(tampered)).toContain("entry_altered");

  const empty = join(auditor.path, "empty");
  cpSync(copy, empty, { recursive: true });
  rmSync(join(empty, files.find((path) => path.endsWith("checkpoint")) as string));
  expect(await verify(empty)).toMatchObject({
    code: 1,
    said: { ok: false, missing_logs: [expect.stringContaining("/node-1/e1")] },
  });

  const strangers = join(auditor.path, "strangers");
  const vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
  writeFileSync(strangers, `${readFileSync(keys, "utf8").replace(/^/, "# ")}${vkey}\n`);
  const byStranger = await verify(copy, strangers);
  expect(byStranger.code).toBe(1);
  expect(codesOf(byStranger)).toEqual(["checkpoint_origin"]);
});

test("a receipt proves its record to whoever has the key, and nothing once it was changed", async () => {
  const out = join(auditor.path, "receipt");
  expect((await here("audit", "receipt", rid, "--out", out)).code).toBe(0);
  const path = `${out}.tlog-proof`;
  const good = await offline("audit", "check", path, "--keys", keys);
  expect(good).toMatchObject({ code: 0, said: { ok: true, record: { rid, dec: "deny" } } });
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.replace(/^index \d+/m, "index 0"));
  const moved = await offline("audit", "check", path, "--keys", keys);
  expect(moved).toMatchObject({ code: 1, stderr: expect.stringContaining("receipt_not_included") });
});

test("a question is answered from the log, an index or none", async () => {
  const ask = async (...words: string[]) => {
    const { said } = await offline("audit", "query", "--offline", copy, ...words);
    return said.records.map((record: { rid?: string; k: string }) => record.rid ?? record.k);
  };
  expect(await ask("--request", rid)).toEqual([rid]);
  expect(await ask("--agent", "research/worker-1", "--denied")).toEqual([rid]);
  expect(await ask("--kind", "genesis")).toEqual(["genesis"]);
  expect(await ask("--until", "2020-01-01T00:00:00Z")).toEqual([]);
  const { code } = await offline("audit", "query", "--offline", copy, "--since", "yesterday");
  expect(code).toBe(2);
  expect((await offline("audit", "reindex", "--offline", copy)).code).toBe(0);
  expect(await ask("--request", rid)).toEqual([rid]);
});

test("whoever follows the log gets each record once, a line of JSON for each", async () => {
  const words = ["audit", "tail", "--json", "--follow", "--from", "0", "--home", altrace.home];
  const tail = startProcess(words);
  const seqs = (): number[] =>
    tail
      .stdout()
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { seq: number }).seq);
  const before = await waitUntil("the records so far", () => seqs().length || undefined);
  await fetch(`${altrace.gateway}/v1/models`);
  await waitUntil("one more", () => seqs().length > before || undefined);
  expect(seqs()).toEqual(seqs().map((_, i) => i));
  expect(await tail.end("SIGTERM")).toMatchObject({ code: 0 });
});

test("violations are told as they are made: one of a kind, with how many more there were", async () => {
  const refuse = async (model: string): Promise<void> => {
    const answer = await fetch(`${altrace.gateway}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${altrace.key("research/worker-1")}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] }),
    });
    await answer.text();
  };
  const words = ["violations", "--follow", "--json", "--recent", "0", "--home", altrace.home];
  const follow = startProcess(words);
  const told = (): { reason: string; agent: string }[] =>
    follow
      .stdout()
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  // Until it watches, what is refused is not told.
  await waitUntil("the first one", async () => {
    await refuse("no-such-model");
    return told().length > 0;
  });
  for (let i = 0; i < 5; i++) await refuse("no-such-model");
  await fetch(`${altrace.gateway}/v1/nowhere`, {
    headers: { authorization: `Bearer ${altrace.key("research/worker-1")}` },
  });
  await refuse("gpt-5-mini").catch(() => undefined);
  expect(told().filter(({ reason }) => reason === told()[0]?.reason)).toHaveLength(1);
  expect(told()[0]).toMatchObject({ agent: "research/worker-1" });
  expect(await follow.end("SIGTERM")).toMatchObject({ code: 0 });
  const { stdout } = await here("violations", "--agent", "research");
  expect(stdout.split("\n").length).toBeGreaterThan(6);
});
