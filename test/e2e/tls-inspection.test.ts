import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { type buildConnector, Client } from "undici";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { TlsFront } from "../support/tls-front.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "research/worker-1";
const HOST = "llm.localhost";
const ROOT = join(tmpdir(), `altrace-e2e-ca-${process.pid}.pem`);

const GRANT = join(tmpdir(), `altrace-e2e-grant-${process.pid}.json`);

let provider: Provider;
let front: TlsFront;
let altrace: Altrace;

beforeAll(async () => {
  provider = await startProvider();
  front = new TlsFront(HOST, new URL(provider.origin));
  await front.listen();
  writeFileSync(ROOT, front.certificate);
  const env = { ...PROVIDER_KEYS, NODE_EXTRA_CA_CERTS: ROOT, ALTRACE_REGION: "DE" };
  altrace = await startAltrace({ policy: e2ePolicy(front.origin), env });
  // Its certificate comes a moment after its policy.
  await waitUntil(
    () => "the node to get its certificate",
    async () => ((await opened(AGENT)).startsWith("HTTP/1.1 200") ? true : undefined),
  );
});
afterAll(async () => {
  await altrace?.[Symbol.asyncDispose]();
  front?.[Symbol.dispose]();
  await provider?.[Symbol.asyncDispose]();
  rmSync(ROOT, { force: true });
  rmSync(GRANT, { force: true });
});

function forward(): URL {
  return new URL(altrace.ready.forward);
}

async function tunnel(agent: string, port = front.port, key = altrace.key(agent)) {
  const socket = connectTcp(Number(forward().port), forward().hostname);
  onTestFinished(() => void socket.destroy());
  return begin(socket, agent, port, key);
}

async function begin(
  socket: ReturnType<typeof connectTcp>,
  agent: string,
  port: number,
  key = altrace.key(agent),
) {
  socket.on("error", () => undefined);
  const basic = Buffer.from(`${agent}:${key}`).toString("base64");
  const target = `${HOST}:${port}`;
  socket.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
  );
  const [answer] = (await once(socket, "data")) as [Buffer];
  return { socket, answer: answer.toString() };
}

async function opened(agent: string): Promise<string> {
  const socket = connectTcp(Number(forward().port), forward().hostname);
  const { answer } = await begin(socket, agent, front.port);
  socket.destroy();
  return answer;
}

/** TLS within a tunnel, as a client that trusts the mesh's root has it. */
async function inside(
  agent: string,
  options: ConnectionOptions = {},
  key = altrace.key(agent),
): Promise<TLSSocket> {
  const { socket } = await tunnel(agent, front.port, key);
  const ca = readFileSync(join(altrace.home, "inspection-root.pem"));
  const tls = connect({ socket, servername: HOST, ca, ...options });
  await once(tls, "secureConnect");
  // A cut resets it, whoever looks at it by then.
  tls.on("error", () => undefined);
  return tls;
}

const BODY = JSON.stringify({
  model: "gpt-5-mini",
  messages: [{ role: "user", content: "hello" }],
});

async function ask(tls: TLSSocket, headers: Readonly<Record<string, string>>, body = BODY) {
  const all = {
    host: `${HOST}:${front.port}`,
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  tls.write(`POST /v1/chat/completions HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
  let text = "";
  tls.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return waitUntil(
    () => `an answer; there was ${text}`,
    () => (/\r\n\r\n.*\}/s.test(text) || tls.destroyed ? text : undefined),
  );
}

const reasonOf = (text: string) => /x-altrace-reason: ([a-z_]+)/.exec(text)?.[1];
const statusOf = (text: string) => Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);

async function asAgent(prompt: string) {
  const said = await altrace.mustCli("env", AGENT, "--proxy", "--json");
  const variables = JSON.parse(said) as Record<string, string>;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [new URL("./ask-through-proxy.ts", import.meta.url).pathname],
    {
      // Names under localhost would go past the proxy.
      env: {
        PATH: process.env.PATH,
        ...variables,
        NO_PROXY: "",
        LLM_ORIGIN: front.origin,
        PROMPT: prompt,
      },
    },
  );
  return JSON.parse(stdout) as { whole: string; streamed: string; anthropics: string };
}

/** HTTP/2 within TLS within a tunnel. */
async function http2Inside(agent: string): Promise<ClientHttp2Session> {
  const tls = await inside(agent, { ALPNProtocols: ["h2", "http/1.1"] });
  expect(tls.alpnProtocol).toBe("h2");
  const session = connectHttp2(front.origin, { createConnection: () => tls });
  session.on("error", () => undefined);
  onTestFinished(() => void session.destroy());
  return session;
}

/** What came of a request, as far as it has come. */
function askHttp2(session: ClientHttp2Session, prompt: string, over: object = {}) {
  const messages = [{ role: "user", content: prompt }];
  const stream = session.request({
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
  });
  const answer = { status: 0, reason: "", text: "", isOver: false };
  stream.on("response", (headers) => {
    answer.status = headers[":status"] ?? 0;
    answer.reason = String(headers["x-altrace-reason"]);
  });
  stream.setEncoding("utf8");
  stream.on("data", (piece: string) => {
    answer.text += piece;
  });
  stream.on("error", () => undefined);
  stream.on("close", () => {
    answer.isOver = true;
  });
  stream.end(JSON.stringify({ model: "gpt-5-mini", messages, ...over }));
  return answer;
}

async function overHttp2(...of: Parameters<typeof askHttp2>) {
  const answer = askHttp2(...of);
  return waitUntil(
    () => `the end of ${answer.text}`,
    () => (answer.isOver ? answer : undefined),
  );
}

describe("HTTP/2 within that TLS", () => {
  test("is spoken with a client that has it first, and each request meets the chain", async () => {
    const session = await http2Inside(AGENT);
    const [allowed, refused, otherModel] = await Promise.all([
      overHttp2(session, "over http2"),
      overHttp2(session, "tell of project-nightjar-1234"),
      overHttp2(session, "other", { model: "gpt-0" }),
    ]);
    expect(allowed).toMatchObject({ status: 200, text: expect.stringContaining("five pieces") });
    expect(refused).toMatchObject({ status: 403, reason: "content_refused" });
    expect(otherModel).toMatchObject({ status: 403, reason: "model_unknown" });
    const [reached, ...more] = provider.reachedBy("over http2");
    expect(more).toEqual([]);
    expect(reached?.headers.authorization).toBe(`Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`);
    expect(provider.reachedBy("nightjar-1234")).toEqual([]);
  });

  test("serves undici's client, whole and as a stream", async () => {
    const tls = await inside(AGENT, { ALPNProtocols: ["h2"] });
    // Its client for proxies offers HTTP/1.1 alone, whatever it is told.
    const connect: buildConnector.connector = (_options, done) => done(null, tls);
    const dispatcher = new Client(front.origin, { allowH2: true, connect });
    onTestFinished(() => dispatcher.destroy());
    for (const stream of [false, true]) {
      const { statusCode, body } = await dispatcher.request({
        path: "/v1/chat/completions",
        method: "POST",
        headers: { "content-type": "application/json" },
        body: BODY.replace("{", `{"stream":${stream},`),
      });
      expect([statusCode, await body.text()]).toEqual([200, expect.stringContaining("pieces.")]);
    }
  });

  test("cuts a stream where a rule begins to match, and nothing beside it", async () => {
    provider.script("leak2", { pieces: ["it is project-night", "jar-0042, ", "you know"] });
    const session = await http2Inside(AGENT);
    const [cut, beside] = await Promise.all([
      overHttp2(session, "script leak2", { stream: true }),
      overHttp2(session, "beside", { stream: true }),
    ]);
    expect(cut.text).toContain("content_cut");
    expect(cut.text).not.toContain("project");
    expect(cut.text).not.toContain("[DONE]");
    expect(beside.text).toContain("[DONE]");
  });

  test("ends with a kill: streams are told, the idle connection is closed", async () => {
    provider.script("held2", { held: true });
    const [busy, idle] = [
      await http2Inside("research/worker-3"),
      await http2Inside("research/worker-3"),
    ];
    const streams = [1, 2].map(() => askHttp2(busy, "script held2", { stream: true }));
    await waitUntil(
      () => "both streams",
      () => (streams.every(({ text }) => text.includes("data: ")) ? true : undefined),
    );
    await altrace.mustCli("kill", "agent/research/worker-3", "--wait");
    await waitUntil(
      () => "both connections to be closed",
      () => (busy.destroyed && idle.destroyed ? true : undefined),
    );
    for (const { text } of streams) {
      expect(text).toContain("killed_agent");
      expect(text).not.toContain("[DONE]");
    }
    await waitUntil(
      () => "the provider to be let go",
      () => (provider.openStreams("held2") === 0 ? true : undefined),
    );
  });
});

describe("TLS to a model provider, through HTTPS_PROXY", () => {
  test("is looked into: the official SDKs are answered, with the provider's key", async () => {
    const { whole, streamed, anthropics } = await asAgent("through the proxy");
    expect([whole, streamed, anthropics]).toEqual(Array(3).fill("One answer in five pieces."));
    const reached = provider.reachedBy("through the proxy");
    expect(reached.length).toBe(3);
    expect(JSON.stringify(reached)).not.toContain(altrace.key(AGENT));
    expect(reached[0]?.headers.authorization).toBe(`Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`);
    expect(reached[0]?.headers["proxy-authorization"]).toBeUndefined();
  });

  test("does not go past the content rules", async () => {
    const { whole, streamed, anthropics } = await asAgent("tell of project-nightjar-1234");
    expect([whole, streamed, anthropics]).toEqual(Array(3).fill("403 content_refused"));
    expect(provider.reachedBy("nightjar-1234")).toEqual([]);
  });

  test("needs no second credential, and takes no other agent's", async () => {
    const own = await ask(await inside(AGENT), {});
    expect(statusOf(own)).toBe(200);
    const others = { authorization: `Bearer ${altrace.key("research/worker-2")}` };
    const text = await ask(await inside(AGENT), others);
    expect([statusOf(text), reasonOf(text)]).toEqual([401, "credentials_conflict"]);
    const providers = { authorization: `Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}` };
    const foreign = await ask(await inside(AGENT), providers);
    expect([statusOf(foreign), reasonOf(foreign)]).toEqual([401, "foreign_credential"]);
  });

  test("runs under the contract of the key that opened it", async () => {
    const bucket = { b: 1_000_000, n: 1_000_000, w: 1 };
    const grant = {
      budget: { calls: 10, tok: 1_000_000, usd_u: 1_000_000 },
      class: { scheme: "public.internal.confidential.restricted", lvl: 2, cmp: [] },
      geo: { src: ["DE"], proc: ["US"], egr: ["US"] },
      models: ["openai/gpt-5-mini"],
      rate: { req: bucket, tok: bucket, usd_u: bucket },
      time: [],
      tools: {},
    };
    writeFileSync(GRANT, JSON.stringify(grant));
    const issued = await altrace.mustCli("contract", "issue", AGENT, "--grant", GRANT, "--json");
    const { key, contract } = JSON.parse(issued) as { key: string; contract: string };
    const allowed = await ask(await inside(AGENT, {}, key), {});
    expect(statusOf(allowed)).toBe(200);
    const other = BODY.replace("gpt-5-mini", "gpt-4o-mini");
    const refused = await ask(await inside(AGENT, {}, key), {}, other);
    expect([statusOf(refused), reasonOf(refused)]).toEqual([403, "model_not_granted"]);
    const { answer } = await tunnel(
      AGENT,
      front.port,
      key.replace(/.$/, (last) => (last === "A" ? "B" : "A")),
    );
    expect([statusOf(answer), reasonOf(answer)]).toEqual([407, "key_unknown"]);
    const idle = await inside(AGENT, {}, key);
    await altrace.mustCli("contract", "revoke", contract);
    await waitUntil(
      () => "the connection to be closed",
      () => (idle.destroyed ? true : undefined),
    );
    const again = await tunnel(AGENT, front.port, key);
    expect(reasonOf(again.answer)).toBe("killed_contract");
  });

  test("answers 421 to a request for another host than the connection's", async () => {
    for (const host of ["evil.example.com", `${HOST}:1`, "api.openai.com"]) {
      const text = await ask(await inside(AGENT), { host });
      expect([statusOf(text), reasonOf(text)]).toEqual([421, "misdirected_request"]);
    }
  });

  test("refuses CONNECT and WebSocket within", async () => {
    const upgrade = await ask(await inside(AGENT), { connection: "upgrade", upgrade: "websocket" });
    expect([statusOf(upgrade), reasonOf(upgrade)]).toEqual([403, "upgrade_refused"]);
    const tls = await inside(AGENT);
    tls.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const [bytes] = (await once(tls, "data")) as [Buffer];
    expect(reasonOf(bytes.toString())).toBe("method_not_allowed");
  });

  test("refuses another port of that host, and a client that speaks neither HTTP/1.1 nor HTTP/2", async () => {
    const { answer } = await tunnel(AGENT, 1);
    expect([statusOf(answer), reasonOf(answer)]).toEqual([403, "not_inspectable"]);
    await expect(inside(AGENT, { ALPNProtocols: ["spdy/3"] })).rejects.toThrow(/alert/);
  });

  test("shows certificates that are good for that host alone", async () => {
    const tls = await inside(AGENT);
    const leaf = tls.getPeerCertificate(true);
    expect(leaf.subjectaltname).toBe(`DNS:${HOST}`);
    const hours = (Date.parse(leaf.issuerCertificate.valid_to) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(23);
    expect(hours).toBeLessThanOrEqual(24);
    expect(leaf.ca).not.toBe(true);
  });

  test("ends with a kill: what runs is told, what is idle is cut", async () => {
    provider.script("held", { held: true });
    const idle = await inside("support/triage");
    const busy = await inside("support/triage");
    for (const one of [idle, busy]) one.on("error", () => undefined);
    const held = JSON.stringify({
      model: "gpt-5-mini",
      stream: true,
      messages: [{ role: "user", content: "script held" }],
    });
    let text = "";
    busy.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    busy.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: ${HOST}:${front.port}\r\n` +
        `content-type: application/json\r\ncontent-length: ${held.length}\r\n\r\n${held}`,
    );
    await waitUntil(
      () => "a stream",
      () => (text.includes("data: ") ? true : undefined),
    );
    await altrace.mustCli("kill", "agent/support/triage", "--wait");
    await waitUntil(
      () => "both to be closed",
      () => (idle.destroyed && busy.destroyed ? true : undefined),
    );
    expect(text).toContain("killed_agent");
    expect(text).not.toContain("[DONE]");
    const { answer } = await tunnel("support/triage");
    expect(reasonOf(answer)).toBe("killed_agent");
  });

  test("has a record for the connection and one for each request", async () => {
    const text = await ask(await inside(AGENT), {});
    const id = /x-request-id: ([0-9a-f-]+)/.exec(text)?.[1] ?? "";
    const explained = await waitUntil(
      () => "the record",
      async () => {
        const { code, stdout } = await altrace.cli("explain", id, "--json");
        return code === 0 ? stdout : undefined;
      },
    );
    expect(explained).toContain(`"${HOST}:${front.port}"`);
    expect(explained).toContain('"forward"');
  });
});
