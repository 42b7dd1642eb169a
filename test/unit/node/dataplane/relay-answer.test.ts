import { describe, expect, test } from "vitest";
import { eventually } from "./door.ts";
import {
  answerRules,
  contentRule,
  EVENT_STREAM,
  type Relayed,
  relay,
  streamOf,
} from "./relay-fixture.ts";

const JSON_TYPE = ["content-type", "application/json", "retry-after", "7", "x-secret", "no"];

function answerWith(
  relayed: Relayed,
  {
    status = 200,
    headers = JSON_TYPE,
    body,
  }: { status?: number; headers?: string[]; body: unknown },
): Relayed {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  relayed.sink.onHead(status, headers);
  for (let from = 0; from < bytes.length; from += 7) {
    relayed.sink.onData(bytes.subarray(from, from + 7));
  }
  relayed.sink.onEnd();
  return relayed;
}

function completion(message: object): object {
  return {
    id: "c",
    choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  };
}

const KEY = "provider-key";
const whole = { stream: false };

describe("an answer that is one document", () => {
  test("passes byte-identical once it is whole", () => {
    const body = JSON.stringify(completion({ content: "hé" }), null, 2);
    const { exchange, outcomes } = answerWith(relay("openai", whole), { body });
    expect(exchange.answered).toMatchObject({
      status: 200,
      headers: [
        ...["x-altrace-decision", "allow"],
        ...["content-type", "application/json", "retry-after", "7"],
      ],
    });
    expect(exchange.answered?.body.toString()).toBe(body);
    expect(outcomes).toMatchObject([
      { kind: "done", status: 200, usage: { inputTokens: 3, outputTokens: 2 }, outputTextBytes: 3 },
    ]);
  });

  test("with two types is refused: a client could read either", () => {
    const headers = ["content-type", "text/event-stream", ...JSON_TYPE];
    const { exchange, outcomes } = answerWith(relay("openai", whole), {
      headers,
      body: completion({ content: "x" }),
    });
    expect(exchange.answered?.status).toBe(502);
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "response_unscannable" }]);
  });

  test.each(["utf-7", "utf-16le", "iso-8859-1", '"utf-7"', "utf-8; charset=utf-16", ""])(
    "in another encoding (%s) is refused: its client would read other words",
    (charset) => {
      const headers = ["content-type", `application/json; charset=${charset}`];
      const { exchange, outcomes } = answerWith(relay("openai", whole), {
        headers,
        body: completion({ content: "+AFMALQAx-" }),
      });
      expect(exchange.answered?.status).toBe(502);
      expect(outcomes).toMatchObject([{ kind: "cut", reason: "response_unscannable" }]);
    },
  );

  test.each(["utf-8", "UTF-8", '"utf8"', "utf-8; profile=x"])("in ours (%s) passes", (charset) => {
    const headers = ["content-type", `application/json ; Charset = ${charset}`];
    const { exchange } = answerWith(relay("openai", whole), {
      headers,
      body: completion({ content: "x" }),
    });
    expect(exchange.answered?.status).toBe(200);
  });

  test("is sent nowhere before its end", () => {
    const relayed = relay("openai", whole);
    relayed.sink.onHead(200, JSON_TYPE);
    relayed.sink.onData(Buffer.from(JSON.stringify(completion({ content: "x" }))));
    expect(relayed.exchange.answered).toBeUndefined();
    relayed.sink.onError("upstream_failed", true);
    expect(relayed.exchange.answered?.status).toBe(502);
    expect(relayed.outcomes).toMatchObject([{ kind: "upstream_failed", sent: true }]);
  });

  test.each([
    ["content", completion({ content: "has S-123456 in it" })],
    [
      "a tool's arguments",
      completion({ tool_calls: [{ function: { name: "t", arguments: "S-123456" } }] }),
    ],
    ["a member that is not known", { ...completion({ content: "x" }), extra: ["S-123456"] }],
  ])("is refused when a rule matches in %s", (_where, body) => {
    const { exchange, outcomes } = answerWith(relay("openai", whole), { body });
    expect(exchange.answered).toMatchObject({ status: 403 });
    expect(exchange.answered?.body.toString()).not.toContain("S-1");
    expect(outcomes).toMatchObject([
      { kind: "cut", reason: "content_cut", rule: "secret", usage: { outputTokens: 2 } },
    ]);
  });

  test("is refused for an integer of which only its bytes have every digit", () => {
    const rules = answerRules([contentRule({ pattern: "110101199003074514" })]);
    const bodies = {
      openai: '{"choices":[],"extra":{"id":-110101199003074514}}',
      anthropic:
        '{"type":"message","content":[{"type":"tool_use","id":"t","name":"n","input":{"a":[1,110101199003074514]}}]}',
      gemini:
        '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"n","args":{"a":110101199003074514}}}]}}]}',
      mcp: '{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"id":-110101199003074514}}}',
    };
    for (const [name, body] of Object.entries(bodies)) {
      const relayed = relay(name as keyof typeof bodies, { ...whole, rules });
      answerWith(relayed, { headers: ["content-type", "application/json"], body });
      expect([name, relayed.outcomes]).toMatchObject([name, [{ reason: "content_cut" }]]);
      const other = relay(name as keyof typeof bodies, { ...whole, rules });
      answerWith(other, {
        headers: ["content-type", "application/json"],
        body: body.replaceAll("110101199003074514", "110101199003074513"),
      });
      expect([name, other.outcomes]).toMatchObject([name, [{ kind: "done" }]]);
    }
  });

  test("takes no numbers for one another: neither fractions nor neighbours make one", () => {
    const rules = answerRules([contentRule({ pattern: "[0-9]{32}|110101199003074514" })]);
    const numbers = "[1234567890123456,1234567890123456,0.110101199003074514,1e400]";
    const relayed = relay("openai", { ...whole, rules });
    answerWith(relayed, { body: `{"choices":[],"extra":${numbers}}` });
    expect(relayed.outcomes).toMatchObject([{ kind: "done" }]);
  });

  test.each([
    ["content-type", "application/json; note=S-123456"],
    ["retry-after", "S-123456"],
    ["openai-processing-ms", "17, S-123456"],
  ])("is refused when a rule matches in a header that is passed on: %s: %s", (name, value) => {
    const headers =
      name === "content-type" ? [name, value] : [...JSON_TYPE.slice(0, 2), name, value];
    for (const status of [200, 429]) {
      const { exchange, outcomes } = answerWith(relay("openai", whole), {
        status,
        headers,
        body: completion({ content: "x" }),
      });
      expect(JSON.stringify(exchange.answered)).not.toContain("S-123456");
      const isPassed = status === 200 || name !== "content-type";
      if (!isPassed) expect(outcomes).toMatchObject([{ kind: "done", status: 429 }]);
      if (!isPassed) continue;
      expect(exchange.answered?.status).toBe(403);
      expect(outcomes).toMatchObject([{ kind: "cut", reason: "content_cut", rule: "secret" }]);
    }
  });

  test("is withheld when a header that is passed on shows the credential, also of an error", () => {
    const headers = [...JSON_TYPE.slice(0, 2), "retry-after", "Bearer provider-key"];
    for (const status of [200, 429]) {
      const { exchange, outcomes } = answerWith(relay("openai", { ...whole, secret: KEY }), {
        status,
        headers,
        body: completion({ content: "x" }),
      });
      expect(exchange.answered).toMatchObject({ status: 502 });
      expect(JSON.stringify(exchange.answered)).not.toContain("provider-key");
      expect(outcomes).toMatchObject([{ kind: "cut", reason: "credential_in_response" }]);
    }
  });

  test.each([
    ["as it is", "sent: Bearer provider-key", "provider-key"],
    ["with a character escaped", "sent: KEY", "provider\\u002dkey"],
    ["in what names the answer", "x", "provider\\u002dkey"],
  ])(
    "is withheld when it shows the credential that its request went with: %s",
    (_how, content, key) => {
      const text = JSON.stringify({
        ...completion({ content }),
        id: content === "x" ? "KEY" : "c",
      });
      const body = text.replace("KEY", key);
      const { exchange, outcomes } = answerWith(relay("openai", { ...whole, secret: KEY }), {
        body,
      });
      expect(exchange.answered).toMatchObject({ status: 502 });
      expect(exchange.answered?.body.toString()).toBe("credential_in_response");
      expect(outcomes).toMatchObject([
        { kind: "cut", reason: "credential_in_response", usage: { outputTokens: 2 } },
      ]);
      const other = relay("openai", { ...whole, secret: KEY });
      answerWith(other, { body: completion({ content: "sent: Bearer own-key" }) });
      expect(other.outcomes).toMatchObject([{ kind: "done" }]);
    },
  );

  test("is refused when it calls a tool that is not granted", () => {
    const call = { id: "i", type: "function", function: { name: "forbidden", arguments: "{}" } };
    const body = completion({ content: null, tool_calls: [call] });
    const { exchange, outcomes } = answerWith(relay("openai", whole), { body });
    expect(exchange.answered?.status).toBe(403);
    expect(outcomes).toMatchObject([{ reason: "tool_call_not_granted", rule: "forbidden" }]);
  });

  test("is refused when a rule matches at the very end of a text", () => {
    const rules = answerRules([contentRule({ pattern: "end$" })]);
    for (const message of [{ content: "the end" }, { content: "x", extra: "the end" }]) {
      const relayed = relay("openai", { ...whole, rules });
      answerWith(relayed, { body: completion(message) });
      expect(relayed.outcomes).toMatchObject([{ reason: "content_cut" }]);
    }
  });

  test("is refused when a kill came while it was written", () => {
    const killedNow = () => "killed_team" as const;
    const relayed = relay("openai", { ...whole, killedNow });
    answerWith(relayed, { body: completion({ content: "x" }) });
    expect(relayed.exchange.answered?.status).toBe(403);
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "killed_team" }]);
  });

  test("tells hits of rules that only warn", () => {
    const body = completion({ content: "warn-12" });
    const { exchange, outcomes } = answerWith(relay("openai", whole), { body });
    expect(exchange.answered?.status).toBe(200);
    expect(outcomes).toMatchObject([{ kind: "done", hits: [{ ruleId: "warned" }] }]);
  });

  test.each([
    ["not JSON", "{"],
    ["not of the dialect", {}],
    ["a list", []],
    ["one with a member named twice", '{"choices":[],"choices":[]}'],
    ["not UTF-8", Buffer.of(0x22, 0xff, 0x22).toString("latin1")],
  ])("is refused when it is %s", (_title, body) => {
    const { exchange, outcomes } = answerWith(relay("openai", whole), { body });
    expect(exchange.answered?.status).toBe(502);
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "response_unscannable" }]);
  });

  test("is refused when it is longer than may be kept", () => {
    const relayed = relay("openai", { ...whole, answerBytesMax: 100_000 });
    relayed.sink.onHead(200, JSON_TYPE);
    const chunk = Buffer.alloc(50_000, "x");
    for (let count = 0; count < 2; count++) expect(relayed.sink.onData(chunk)).toBe(true);
    relayed.sink.onData(chunk);
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "response_too_large" }]);
    expect(relayed.upstream.aborted).toBe(true);
  });

  test("is read in the other dialect too", () => {
    const content = [{ type: "text", text: "hello" }];
    const body = { type: "message", content, usage: { input_tokens: 1, output_tokens: 2 } };
    const { exchange, outcomes } = answerWith(relay("anthropic", whole), { body });
    expect(exchange.answered?.body.toString()).toBe(JSON.stringify(body));
    expect(outcomes).toMatchObject([{ kind: "done", usage: { inputTokens: 1, outputTokens: 2 } }]);
  });
});

describe("an answer of another kind than was asked for", () => {
  test.each([
    ["a document for a stream", true, 200, ["content-type", "application/json"]],
    ["a stream for a document", false, 200, EVENT_STREAM],
    ["a page", false, 200, ["content-type", "text/html"]],
    ["no type", false, 200, []],
    ["a redirect", false, 302, ["location", "https://elsewhere"]],
    ["no content", false, 204, []],
    ["a document in an unknown coding", false, 200, [...JSON_TYPE, "content-encoding", "deflate"]],
    ["a stream in two codings", true, 200, [...EVENT_STREAM, "Content-Encoding", "gzip, br"]],
  ])("is refused: %s", (_title, stream, status, headers) => {
    const body = completion({ content: "x" });
    const { exchange, outcomes, upstream } = answerWith(relay("openai", { stream }), {
      status,
      headers,
      body,
    });
    expect(exchange.answered?.status).toBe(502);
    expect(exchange.begun).toBeUndefined();
    expect(upstream.aborted).toBe(true);
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "response_unscannable" }]);
  });

  test("may name the encoding that is none", () => {
    const headers = [...JSON_TYPE, "content-encoding", "identity"];
    const { outcomes } = answerWith(relay("openai", whole), { headers, body: completion({}) });
    expect(outcomes).toMatchObject([{ kind: "done" }]);
  });
});

test("that it was taken is not told to an agent that was killed meanwhile", () => {
  const relayed = relay("mcp", { ...whole, killedNow: () => "killed_agent" });
  answerWith(relayed, { status: 202, headers: [], body: "" });
  expect(relayed.exchange.answered?.body.toString()).toBe("killed_agent");
  expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "killed_agent" }]);
});

describe("a provider's error", () => {
  test("is not told to an agent that was killed meanwhile", async () => {
    const killedNow = () => "killed_agent" as const;
    for (const headers of [JSON_TYPE, [...JSON_TYPE, "content-encoding", "gzip"]]) {
      const relayed = relay("openai", { ...whole, killedNow });
      answerWith(relayed, { status: 429, headers, body: { error: { message: "of the request" } } });
      await eventually(() => relayed.outcomes.length > 0, "its outcome");
      expect(relayed.exchange.answered?.body.toString()).toBe("killed_agent");
      expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "killed_agent" }]);
    }
  });

  const error = {
    error: { message: "Incorrect key: provider-key", type: "t", param: null, code: 5 },
  };

  test("keeps its status and its words, without the key", () => {
    const { exchange, outcomes } = answerWith(relay("openai", whole), { status: 429, body: error });
    expect(exchange.answered).toMatchObject({
      status: 429,
      headers: [
        ...["x-altrace-decision", "allow", "retry-after", "7"],
        ...["content-type", "application/json"],
      ],
    });
    expect(JSON.parse(exchange.answered?.body.toString() ?? "")).toEqual({
      error: { message: "Incorrect key: [redacted]", type: "t", param: null, code: 5 },
    });
    expect(outcomes).toMatchObject([{ kind: "done", status: 429, usage: undefined }]);
  });

  test("is told to a client that asked for a stream, as a document", () => {
    const { exchange } = answerWith(relay("anthropic"), { status: 529, body: error });
    expect(exchange.answered?.status).toBe(529);
    expect(exchange.begun).toBeUndefined();
  });

  test("finds the key in an escaped spelling", () => {
    const body = '{"error":{"message":"provider\\u002dkey"}}';
    const { exchange } = answerWith(relay("openai", whole), { status: 401, body });
    expect(exchange.answered?.body.toString()).toBe('{"error":{"message":"[redacted]"}}');
  });

  test.each([
    ["a page", "<html>provider-key</html>"],
    ["JSON of another shape", { detail: "provider-key" }],
    ["too long", { error: { message: "x".repeat(70_000) } }],
    ["one that breaks a content rule", { error: { message: "you sent S-123456" } }],
  ])("is put in words of ours when it is %s", (_title, body) => {
    const { exchange } = answerWith(relay("openai", whole), { status: 503, body });
    expect(exchange.answered?.status).toBe(503);
    expect(JSON.parse(exchange.answered?.body.toString() ?? "")).toEqual({
      error: {
        message: "The provider answered with status 503. (request 0190-req)",
        type: "server_error",
        param: null,
        code: "upstream_failed",
      },
    });
  });
});

describe("a bug of ours in the end of an answer", () => {
  const bug = (): never => {
    throw new Error("a bug");
  };
  const document = Buffer.from(JSON.stringify(completion({ content: "x" })));

  test("that is one document is a refusal, and none of the provider's", () => {
    const meter = { onText: bug, onUsage: bug, spent: bug };
    const relayed = relay("openai", { ...whole, meter });
    expect(() => answerWith(relayed, { body: document.toString() })).toThrow("a bug");
    relayed.sink.onError("stage_failed", true);
    expect(relayed.exchange.answered?.status).toBe(503);
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "stage_failed", status: 503 }]);
  });

  test("that was being said is a cut", () => {
    const relayed = relay("openai", whole);
    relayed.exchange.answer = bug;
    expect(() => answerWith(relayed, { body: document.toString() })).toThrow("a bug");
    relayed.sink.onError("stage_failed", true);
    expect(relayed.exchange.lastFrame).toBe("");
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "stage_failed" }]);
  });

  test("that is complete is a cut, and the end is not said again", () => {
    const relayed = relay("openai");
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of streamOf("openai", ["x"])) relayed.sink.onData(Buffer.from(frame));
    relayed.exchange.end = bug;
    expect(() => relayed.sink.onEnd()).toThrow("a bug");
    relayed.sink.onError("stage_failed", true);
    expect(relayed.exchange.lastFrame).toContain("stage_failed");
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "stage_failed" }]);
  });
});

describe("an answer that never begins", () => {
  test.each([
    ["upstream_unreachable", false, 502],
    ["upstream_timeout", true, 504],
    ["credential_unavailable", false, 503],
  ] as const)("is a refusal: %s", (reason, sent, status) => {
    const relayed = relay("openai");
    relayed.upstream.sent = sent;
    relayed.sink.onError(reason, sent);
    expect(relayed.exchange.answered?.status).toBe(status);
    expect(relayed.outcomes).toMatchObject([{ kind: "upstream_failed", reason, sent, status }]);
  });

  test("is a refusal when the agent was killed before its request left", () => {
    const relayed = relay("openai");
    relayed.upstream.sent = false;
    relayed.sink.onError("killed_agent", false);
    expect(relayed.exchange.answered?.status).toBe(403);
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "killed_agent", sent: false }]);
  });

  test("is a refusal when a kill comes from outside", () => {
    const relayed = relay("openai");
    relayed.exchange.cutFromOutside({ by: "reason", reason: "mesh_stale" });
    expect(relayed.exchange.answered?.status).toBe(503);
    expect(relayed.upstream.aborted).toBe(true);
    relayed.sink.onHead(200, EVENT_STREAM);
    relayed.sink.onData(Buffer.from(streamOf("openai", ["x"]).join("")));
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "mesh_stale" }]);
  });

  test("is aborted at once when it was over before it was asked for", () => {
    const { exchange, sink } = relay("openai");
    exchange.leave();
    let aborted = false;
    const abort = () => {
      aborted = true;
    };
    sink.attach({ sent: false, abort, resume: () => {}, fault: () => {} });
    expect(aborted).toBe(true);
  });

  test("is nothing when the client has gone", () => {
    const relayed = relay("openai");
    relayed.upstream.sent = false;
    relayed.exchange.leave();
    expect(relayed.exchange.answered).toBeUndefined();
    expect(relayed.upstream.aborted).toBe(true);
    expect(relayed.outcomes).toMatchObject([{ kind: "client_gone", status: 0, sent: false }]);
  });
});
