import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { exchangeBytes, type Said } from "../support/exchange-bytes.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const WORKER = "research/worker-1";
/** In every prompt of this file, and to be found nowhere afterwards. */
const CANARY = "canary-prompt-4f2a9c";

let provider: Provider;
let altrace: Altrace;
let slowHead: Promise<Said>;
/** Everything that was answered to anybody. */
const answers: string[] = [];

const ROTATED = "sk-ant-canary-rotated-0123456789abcdefg";
/** A body that does not come is waited for, and one that comes has time also while a busy machine stands still. */
const BODY_MS = 3_000;
/** Of each team its own, planted as the others are. `edges` has a file of which nothing can be used. */
const TEAM_KEYS = {
  "research.anthropic": "sk-ant-canary-research-0123456789abcdef",
  "support.anthropic": "sk-ant-canary-support-0123456789abcdefg",
  "edges.anthropic": "",
};
let teamKeys: string;

function policyNow(): string {
  return e2ePolicy(provider.origin)
    .replace("credential: anthropic", "credential: anthropic\n    credential_of: team")
    .replace("limits:\n", `limits:\n  body_timeout_ms: ${BODY_MS}\n`);
}

beforeAll(async () => {
  provider = await startProvider();
  teamKeys = mkdtempSync(join(tmpdir(), "altrace-team-keys-"));
  for (const [name, key] of Object.entries(TEAM_KEYS)) writeFileSync(join(teamKeys, name), key);
  altrace = await startAltrace({
    policy: policyNow(),
    env: { ...PROVIDER_KEYS, ALTRACE_LOG_LEVEL: "debug", ALTRACE_CREDENTIALS: teamKeys },
  });
  // A head may take ten seconds; all other tests run meanwhile.
  slowHead = exchangeBytes(altrace.gateway, "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n");
});
afterAll(async () => {
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
  rmSync(teamKeys, { recursive: true, force: true });
});

type Asking = {
  readonly agent?: string;
  readonly path?: string;
  readonly method?: string;
  /** Undefined takes one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Uint8Array<ArrayBuffer> | undefined;
};

type Answered = { readonly status: number; readonly headers: Headers; readonly body: string };

async function ask(asking: Asking): Promise<Answered> {
  const { agent = WORKER, path = "/v1/chat/completions", method = "POST", headers } = asking;
  const body = "body" in asking ? asking.body : chat(`hello ${CANARY}`);
  const sent: Readonly<Record<string, string | undefined>> = {
    "content-type": "application/json",
    authorization: `Bearer ${altrace.key(agent)}`,
    ...headers,
  };
  const answer = await fetch(`${altrace.gateway}${path}`, {
    method,
    headers: Object.entries(sent).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as [string, string]],
    ),
    ...(method !== "GET" && body !== undefined && { body }),
  });
  const text = await answer.text();
  answers.push(text, JSON.stringify([...answer.headers]));
  return { status: answer.status, headers: answer.headers, body: text };
}

/** Status and reason; and that a refusal says the same in every place where it says it. */
async function refusal(asking: Asking): Promise<string> {
  const reached = provider.received.length;
  const { status, headers, body } = await ask(asking);
  expect(provider.received.length).toBe(reached);
  const reason = headers.get("x-altrace-reason");
  expect(headers.get("x-altrace-decision")).toBe("deny");
  expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  const said = JSON.parse(body) as { readonly error: { readonly code?: string } };
  if (said.error.code !== undefined) expect(said.error.code).toBe(reason);
  return `${status} ${headers.get("x-altrace-stage")} ${reason}`;
}

function chat(content: string, more: object = {}): string {
  return JSON.stringify({ model: "gpt-5-mini", messages: [{ role: "user", content }], ...more });
}

const function_ = (name: string) => ({ type: "function", function: { name } });

describe("what cannot be read is refused at stage 1", () => {
  const messages = '"messages":[{"role":"user","content":"x"}]';
  test.each<[string, Asking, string]>([
    [
      "a key that is named twice",
      { body: `{"model":"a",${messages},"model":"b"}` },
      "400 request duplicate_key",
    ],
    [
      "a key that is named twice, spelt in two ways",
      { body: `{"model":"a",${messages},"mod\\u0065l":"b"}` },
      "400 request duplicate_key",
    ],
    [
      "a key that is named twice deep inside",
      { body: `{"model":"gpt-5-mini",${messages},"metadata":{"a":{"b":1,"b":2}}}` },
      "400 request duplicate_key",
    ],
    [
      "half of a body",
      { body: '{"model":"gpt-5-mini","messages":[' },
      "400 request malformed_json",
    ],
    ["no body", { body: undefined }, "400 request malformed_json"],
    ["two bodies", { body: `{"model":"gpt-5-mini",${messages}}{}` }, "400 request malformed_json"],
    [
      "a body that is not UTF-8",
      { body: Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d]) },
      "400 request invalid_utf8",
    ],
    [
      "half of a surrogate pair",
      { body: chat("x").replace('"x"', '"\\ud800"') },
      "400 request invalid_utf8",
    ],
    [
      "a body that nests too deeply",
      { body: chat("x", { metadata: JSON.parse("[".repeat(80) + "]".repeat(80)) }) },
      "400 request json_too_deep",
    ],
    [
      "a body that is no request",
      { body: '{"model":"gpt-5-mini"}' },
      "400 request malformed_request",
    ],
    ["a body that is a list", { body: "[]" }, "400 request malformed_request"],
    [
      "a parameter of unknown cost",
      { body: chat("x", { web_search_options: {} }) },
      "400 request unpriced_parameter",
    ],
    [
      "a parameter nobody knows",
      { body: chat("x", { new_and_shiny: 1 }) },
      "400 request unpriced_parameter",
    ],
    [
      "a form",
      { headers: { "content-type": "application/x-www-form-urlencoded" } },
      "415 request content_type_unsupported",
    ],
    ["text", { headers: { "content-type": "text/plain" } }, "415 request content_type_unsupported"],
    [
      "another character set",
      { headers: { "content-type": "application/json; charset=utf-16" } },
      "415 request content_type_unsupported",
    ],
    [
      "a body compressed in a way that is not read",
      { headers: { "content-encoding": "deflate" } },
      "415 request content_encoding_unsupported",
    ],
    [
      "a body that is not compressed as it says",
      { headers: { "content-encoding": "gzip" } },
      "400 request malformed_encoding",
    ],
    ["a path nobody serves", { path: "/v1/files" }, "404 request route_unknown"],
    ["a path with a detour", { path: "/v1/x/..%2fchat/completions" }, "404 request route_unknown"],
    ["a method the path does not have", { method: "PUT" }, "405 request method_not_allowed"],
  ])("%s", async (_what, asking, expected) => {
    expect(await refusal(asking)).toBe(expected);
  });

  const post = (...headers: string[]) =>
    ["POST /v1/chat/completions HTTP/1.1", "host: a", ...headers, "", ""].join("\r\n");

  test.each<[string, () => string, string]>([
    ["a head over its bound", () => post(`x-long: ${"a".repeat(20_000)}`), "431 head_too_large"],
    [
      "more headers than its bound",
      () => post(...Array.from({ length: 200 }, (_, i) => `x-${i}: 1`)),
      "431 head_too_large",
    ],
    [
      "a length and chunks at once",
      () => post("content-length: 5", "transfer-encoding: chunked"),
      "400 malformed_http",
    ],
    ["two lengths", () => post("content-length: 5", "content-length: 6"), "400 malformed_http"],
    ["a folded header", () => post("x-folded: a\r\n b"), "400 malformed_http"],
    ["no host", () => "GET /v1/models HTTP/1.1\r\n\r\n", "400 malformed_http"],
    ["what is no HTTP at all", () => "EHLO example.com\r\n\r\n", "400 malformed_http"],
    [
      "a body that is announced as too large",
      () =>
        post(
          `authorization: Bearer ${altrace.key(WORKER)}`,
          "content-type: application/json",
          "content-length: 99999999",
        ),
      "413 body_too_large",
    ],
  ])("%s", async (_what, bytes, expected) => {
    const { status, headers } = await exchangeBytes(altrace.gateway, bytes());
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe(expected);
  });
});

describe("a credential", () => {
  const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
  const unknown = `altk_abcdefgh12_${"A".repeat(43)}`;
  test.each<[string, () => Asking, string]>([
    [
      "that is missing",
      () => ({ headers: { authorization: undefined } }),
      "401 identity credential_missing",
    ],
    [
      "that is a provider's key",
      () => bearer("sk-proj-abcdefghijklmnop"),
      "401 identity foreign_credential",
    ],
    [
      "of another scheme",
      () => ({ headers: { authorization: "Basic dXNlcjpwYXNz" } }),
      "401 identity foreign_credential",
    ],
    ["that nobody issued", () => bearer(unknown), "401 identity key_unknown"],
    [
      "with a wrong secret",
      () => bearer(altrace.key(WORKER).replace(/.$/, (c) => (c === "A" ? "B" : "A"))),
      "401 identity key_unknown",
    ],
    [
      "that is cut short",
      () => bearer(altrace.key(WORKER).slice(0, 30)),
      "401 identity credential_malformed",
    ],
    [
      "beside another one",
      () => ({ headers: { "x-api-key": altrace.key("support/triage") } }),
      "401 identity credentials_conflict",
    ],
  ])("%s is refused", async (_what, asking, expected) => {
    expect(await refusal(asking())).toBe(expected);
  });

  test("may be sent in both headers when it is the same", async () => {
    const { status } = await ask({ headers: { "x-api-key": altrace.key(WORKER) } });
    expect(status).toBe(200);
  });

  test("is refused once it was revoked", async () => {
    const issued = JSON.parse(await altrace.mustCli("key", "issue", WORKER, "--json")) as {
      readonly id: string;
      readonly key: string;
    };
    await waitUntil("the new key", async () => (await ask(bearer(issued.key))).status === 200);
    await altrace.mustCli("key", "revoke", issued.id);
    await waitUntil("its end", async () => (await ask(bearer(issued.key))).status !== 200);
    expect(await refusal(bearer(issued.key))).toMatch(/^401 identity key_(revoked|unknown)$/);
  });
});

describe("what was not granted is refused", () => {
  const anthropic = { path: "/v1/messages" };
  const message = (model: string) =>
    JSON.stringify({ model, max_tokens: 99, messages: [{ role: "user", content: CANARY }] });
  test.each<[string, Asking, string]>([
    [
      "a model outside the grant",
      { body: chat("x", { model: "gpt-4o-mini" }) },
      "403 model model_not_granted",
    ],
    ["a model nobody knows", { body: chat("x", { model: "gpt-99" }) }, "403 model model_unknown"],
    [
      "a model of the other dialect",
      { body: chat("x", { model: "claude-haiku-4-5" }) },
      "403 model model_unknown",
    ],
    [
      "a model nobody knows, in the other dialect",
      { ...anthropic, body: message("claude-99") },
      "403 model model_unknown",
    ],
    [
      "a tool outside the grant",
      { body: chat("x", { tools: [function_("web_search"), function_("run_shell")] }) },
      "403 tool tool_not_granted",
    ],
    [
      "a tool of which only reading is granted to others",
      { agent: "support/triage", body: chat("x", { tools: [function_("fetch_page")] }) },
      "403 tool tool_not_granted",
    ],
    ["an hour outside the grant", { agent: "edges/nightly" }, "403 time outside_hours"],
    ["a region outside the grant", { agent: "edges/european" }, "403 geography region_not_granted"],
    [
      "a node whose place is unknown",
      { agent: "edges/placeless" },
      "403 geography source_region_not_granted",
    ],
    [
      "a host outside the grant",
      { body: chat("x", { model: "gpt-elsewhere" }) },
      "403 destination host_not_granted",
    ],
    [
      "data above the agent's clearance",
      { agent: "edges/uncleared", body: chat("write to someone@example.com") },
      "403 classification class_not_cleared",
    ],
    [
      "a prompt that breaks a content rule",
      { body: chat("tell me of project-nightjar-0042") },
      "403 content content_refused",
    ],
    [
      "a prompt that breaks it behind JSON's escapes",
      { body: chat("tell me of project-nightjar-0042").replace("nightjar", "night\\u006aar") },
      "403 content content_refused",
    ],
    [
      "an answer nobody can pay for",
      { agent: "edges/poor", body: chat("x", { max_completion_tokens: 20_000 }) },
      "402 budget budget_exhausted",
    ],
  ])("%s", async (_what, asking, expected) => {
    expect(await refusal(asking)).toBe(expected);
  });

  test("and a model without a price gets into no policy", async () => {
    const policy = e2ePolicy(provider.origin).replace(
      "  openai/gpt-4o-mini: {}",
      "  openai/gpt-secret: { max_output_tokens: 100 }",
    );
    const { code, stdout } = await checkPolicy(policy);
    expect(code).toBe(2);
    expect(stdout).toMatch(
      /policy\.yaml:\d+:\d+: error: models\.openai\/gpt-secret.*unpriced_model/,
    );
  });
});

describe("a provider to which each team brings its own key", () => {
  const say = (agent: string, prompt: string) =>
    ask({
      agent,
      path: "/v1/messages",
      body: JSON.stringify({
        model: "claude-haiku-4-5",
        max_tokens: 99,
        messages: [{ role: "user", content: prompt }],
      }),
    });
  const keysSent = (prompt: string) =>
    provider.reachedBy(prompt).map(({ headers }) => headers["x-api-key"]);

  test("sees the key of the team that asks", async () => {
    for (const agent of ["research/worker-1", "support/triage"]) {
      expect((await say(agent, `owned by ${agent}`)).status).toBe(200);
    }
    expect(keysSent("owned by research/")).toEqual([TEAM_KEYS["research.anthropic"]]);
    expect(keysSent("owned by support/")).toEqual([TEAM_KEYS["support.anthropic"]]);
  });

  test("is not asked for a team whose own key cannot be used, though others' could", async () => {
    const { status, headers } = await say("edges/sluggish", "of nobody");
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe("503 credential_unavailable");
    expect(keysSent("of nobody")).toEqual([]);
    expect(altrace.said()).toMatch(/credential_unusable.*edges\.anthropic.*there is none/);
  });

  test("sees another key once its file changed, and no request fails meanwhile", async () => {
    const file = join(teamKeys, "research.anthropic");
    const statuses = new Set<number>();
    const askUntil = (what: string, isSeen: () => boolean) =>
      waitUntil(what, async () => {
        const asked = [1, 2, 3, 4].map(() => say("research/worker-1", "while it turns"));
        for (const { status } of await Promise.all(asked)) statuses.add(status);
        return isSeen();
      });
    writeFileSync(file, "");
    await askUntil("word of the bad file", () =>
      /credential_unusable.*research\.anthropic.*the one before stays/.test(altrace.said()),
    );
    writeFileSync(file, ROTATED);
    await askUntil("the new key", () => keysSent("while it turns").includes(ROTATED));
    expect([...statuses]).toEqual([200]);
    expect(keysSent("while it turns")[0]).toBe(TEAM_KEYS["research.anthropic"]);
    expect(new Set(keysSent("while it turns")).size).toBe(2);
  });
});

describe("a new policy", () => {
  const changed = () =>
    policyNow().replace("worker-2: {}", "worker-2: { models: [anthropic/claude-haiku-4-5] }");

  test("is in force on every node when `altrace policy apply --wait` returns", async () => {
    const agent = "research/worker-2";
    expect((await ask({ agent })).status).toBe(200);
    const file = join(altrace.home, "changed.yaml");
    writeFileSync(file, changed());
    expect(await altrace.mustCli("policy", "apply", file, "--wait")).toContain("durable 1/1");
    await waitUntil("the switch", async () => (await ask({ agent })).status === 403);
    expect(await refusal({ agent })).toBe("403 model model_not_granted");
    expect((await ask({})).status).toBe(200);
  });

  test("that is wrong is refused, and the old one stays", async () => {
    const file = join(altrace.home, "wrong.yaml");
    writeFileSync(file, changed().replace("format: 1", "format: 2"));
    const { code, stderr } = await altrace.cli("policy", "apply", file, "--wait");
    expect(code).toBe(2);
    expect(stderr).toMatch(/wrong\.yaml:1:\d+: error: format/);
    expect((await ask({})).status).toBe(200);
    expect(await refusal({ agent: "research/worker-2" })).toBe("403 model model_not_granted");
  });
});

describe("a budget that is spent", () => {
  test("is lifted by the operator's top-up", async () => {
    const agent = "edges/poor";
    const asking = { agent, body: chat("x", { max_completion_tokens: 20_000 }) };
    expect(await refusal(asking)).toBe("402 budget budget_exhausted");
    const told = JSON.parse((await ask(asking)).body) as { readonly error: { message: string } };
    expect(told.error.message).toMatch(
      /\(asked for [0-9.]+ USD.*, 0\.[0-9]+ USD.* would have fitted; at most \d+ output tokens fit; the limit is that of agent\/edges\/poor by the day, until \d{4}-\d\d-\d\dT00:00:00\.000Z\) \(request /,
    );
    const shown = JSON.parse(await altrace.mustCli("budget", "show", `agent/${agent}`, "--json"));
    const { accounts } = shown as { readonly accounts: readonly { readonly window: string }[] };
    const window = accounts.map((one) => one.window).find((name) => name.startsWith("day:")) ?? "";
    await altrace.mustCli("budget", "top-up", `agent/${agent}`, window, "usd", "1.00");
    await waitUntil("the new limit", async () => (await ask(asking)).status === 200);
  });
});

describe("rates", () => {
  test("that are spent answer 429 and say when to come back", async () => {
    const agent = "edges/hasty";
    expect((await ask({ agent })).status).toBe(200);
    const { status, headers } = await ask({ agent });
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe("429 rate_requests");
    const seconds = Number(headers.get("retry-after"));
    // One request a minute.
    expect(seconds).toBeGreaterThan(30);
    expect(seconds).toBeLessThanOrEqual(60);
    expect(Number(headers.get("retry-after-ms"))).toBeGreaterThan((seconds - 1) * 1_000);
    expect(headers.get("x-should-retry")).toBe("true");
  });
});

describe("an answer that breaks a rule", () => {
  const stream = (name: string) => chat(`script ${name}`, { stream: true });

  test("is refused whole when nothing of it has been released", async () => {
    provider.script("leak", { pieces: ["it is project-nightjar-0042, ", "you know"] });
    const { status, headers, body } = await ask({ body: chat("script leak") });
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe("403 content_cut");
    expect(body).not.toContain("nightjar");
  });

  test("is cut in its dialect, and not one byte of the match is released", async () => {
    const pieces = ["it is ", "pro", "ject-night", "jar-00", "42, you know"];
    provider.script("leak-stream", { pieces });
    const openai = await ask({ body: stream("leak-stream") });
    expect(openai.status).toBe(200);
    expect(openai.body).toContain("it is ");
    expect(openai.body).toContain('"code":"content_cut"');
    expect(openai.body).not.toMatch(/"pro"|ject-night|jar-00|you know|\[DONE\]/);
    const anthropic = await ask({
      path: "/v1/messages",
      body: JSON.stringify({
        model: "claude-haiku-4-5",
        max_tokens: 99,
        stream: true,
        messages: [{ role: "user", content: "script leak-stream" }],
      }),
    });
    expect(anthropic.body).toContain("it is ");
    expect(anthropic.body).toContain("event: error");
    expect(anthropic.body).not.toMatch(/"pro"|ject-night|jar-00|you know|message_stop/);
  });

  test("is cut at the name of a tool that is not granted, before its arguments", async () => {
    provider.script("shell", { tool: { name: "run_shell", json: '{"cmd":"rm -rf /"}' } });
    const tools = [function_("web_search")];
    const streamed = await ask({ body: chat("script shell", { stream: true, tools }) });
    expect(streamed.body).toContain('"code":"tool_call_not_granted"');
    expect(streamed.body).not.toMatch(/rm -rf|\[DONE\]/);
    const whole = await ask({ body: chat("script shell", { tools }) });
    expect(`${whole.status} ${whole.headers.get("x-altrace-reason")}`).toBe(
      "403 tool_call_not_granted",
    );
    expect(whole.body).not.toContain("rm -rf");
  });

  test("has its agent blocked when the rule is a serious one", async () => {
    const agent = "edges/rascal";
    provider.script("serious", { pieces: ["use launch-code-123456 now"] });
    expect((await ask({ agent, body: chat("script serious") })).status).toBe(403);
    await waitUntil("the block", async () => (await ask({ agent })).status === 403);
    expect(await refusal({ agent })).toBe("403 standing blocked");
    expect(await altrace.mustCli("agents", agent)).toContain("block");
  });
});

describe("slow clients", () => {
  test("whose body does not come are refused when its time is over", async () => {
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      "host: a",
      `authorization: Bearer ${altrace.key("edges/sluggish")}`,
      "content-type: application/json",
      "content-length: 1000",
      "",
      '{"model":',
    ].join("\r\n");
    const { status, headers } = await exchangeBytes(
      altrace.gateway,
      head.replace(/\r\n\{/, "\r\n\r\n{"),
      100,
      '"gpt-5-mini"',
    );
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe("408 body_too_slow");
  });

  test("whose head does not come are refused when its time is over", async () => {
    const { status, headers } = await slowHead;
    expect(`${status} ${headers.get("x-altrace-reason")}`).toBe("408 body_too_slow");
  });
});

describe("a client that does not read", () => {
  test("holds up the provider, not the node, and misses nothing", async () => {
    const pieces = Array.from({ length: 500 }, (_, i) => `word ${i} `);
    provider.script("flood", { pieces, paddingBytes: 50_000 });
    const body = chat("script flood", { stream: true, max_completion_tokens: 10_000 });
    const { hostname, port } = new URL(altrace.gateway);
    const reader = connect({ host: hostname, port: Number(port) });
    reader.pause();
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      "host: a",
      "content-type: application/json",
    ];
    const key = `authorization: Bearer ${altrace.key("support/triage")}`;
    reader.write([...head, key, `content-length: ${body.length}`, "", body].join("\r\n"));
    await waitUntil("the provider to have said it all", () => provider.untakenBytes("flood") > 0);
    let untaken = provider.untakenBytes("flood");
    await waitUntil("nobody to take any more", async () => {
      // Meanwhile everybody else is served.
      for (let i = 0; i < 10; i++) expect((await ask({})).status).toBe(200);
      const before = untaken;
      untaken = provider.untakenBytes("flood");
      return untaken === before;
    });
    // Of 25 MB, which is more than all buffers on the way.
    expect(untaken).toBeGreaterThan(10_000_000);
    let last = "";
    reader.on("data", (chunk: Buffer) => {
      last = (last + chunk.toString("latin1")).slice(-60_000);
    });
    reader.resume();
    await waitUntil("the end of the stream", () => last.includes("[DONE]"));
    expect(last).toContain("word 499 ");
    reader.destroy();
  });
});

describe("afterwards", () => {
  test("no prompt and no key is in the log, in HOME, in an answer or in the metrics", async () => {
    provider.script("say-nothing", { pieces: ["nothing"] });
    await ask({ body: chat(`script say-nothing ${CANARY}`) });
    const metrics = await (await fetch(altrace.ready.metrics)).text();
    const keys = [...Object.values(PROVIDER_KEYS), ...Object.values(TEAM_KEYS), ROTATED].filter(
      Boolean,
    );
    const virtual = Object.values(altrace.ready.keys);
    const ours = altrace.process.stderr();
    // Nothing is written any more while files are read.
    expect(await altrace.stop()).toEqual({ code: 0, signal: null });
    expect(ours).toContain('"event":"decision"');
    for (const secret of [CANARY, ...keys]) {
      expect(answers.filter((text) => text.includes(secret))).toEqual([]);
      expect(ours.includes(secret), `the log says ${secret}`).toBe(false);
      expect(metrics.includes(secret), `the metrics say ${secret}`).toBe(false);
      expect(filesWith(secret, altrace.home)).toEqual([]);
    }
    for (const key of virtual) {
      expect(ours.includes(key), "the log says a virtual key").toBe(false);
      // The one place where `altrace up` keeps them.
      expect(filesWith(key, altrace.home)).toEqual(["demo/demo.json"]);
    }
    // That they would have been found: the records themselves are there.
    expect(filesWith("content_refused", altrace.home)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^node\/(wal|log)\//)]),
    );
  });
});

/** Files below a folder that hold a text, whatever kind of file they are. */
function filesWith(text: string, folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(folder, name)).isFile())
    .filter((name) => readFileSync(join(folder, name)).includes(text))
    .sort();
}

async function checkPolicy(text: string) {
  const file = join(altrace.home, "policy.yaml");
  writeFileSync(file, text);
  return altrace.cli("policy", "check", file);
}
