import { describe, expect, test } from "vitest";
import { DIALECTS, findRoute } from "../../../../../node/dataplane/dialects/registry.ts";
import { judgedBody, upstreamBytes } from "../../../../../node/dataplane/judged-body.ts";

function find(method: string, target: string, headers: string[] = []) {
  const found = findRoute(method, target, headers);
  return "missing" in found ? found.missing : found.route.id;
}

describe("a route", () => {
  test.each([
    ["POST", "/v1/chat/completions", "openai.chat"],
    ["POST", "/v1/messages", "anthropic.messages"],
    ["POST", "/v1/messages?beta=true", "anthropic.messages"],
    ["GET", "/v1/models", "openai.models"],
    ["POST", "/v1/responses", "openai.responses"],
    ["POST", "/v1/embeddings", "openai.embeddings"],
    ["POST", "/v1/messages/count_tokens", "anthropic.count_tokens"],
    ["POST", "/v1beta/models/gemini-2.5-flash:generateContent", "gemini.generate.v1beta"],
    ["POST", "/v1beta/models/g/m:streamGenerateContent?alt=sse", "gemini.stream.v1beta"],
    ["GET", "/v1beta/models?pageSize=50", "gemini.models.v1beta"],
  ])("%s %s is %s", (method, target, id) => {
    expect(find(method, target)).toBe(id);
  });

  test.each([
    ["POST", "/v1/chat/completions?x=1"],
    ["POST", "/v1/chat/completions?"],
    ["POST", "/v1/messages?beta=false"],
    ["POST", "/v1/chat/completions/"],
    ["POST", "//v1/chat/completions"],
    ["POST", "/v1/chat/../chat/completions"],
    ["POST", "/v1/chat%2fcompletions"],
    ["POST", "/V1/chat/completions"],
    ["GET", "/v1/responses/resp_1"],
    ["POST", "/v1beta/models/m:streamGenerateContent"],
    ["POST", "/v1beta/models/m:streamGenerateContent?alt=json"],
    ["POST", "/v1beta/models/m:generateContent?key=altk_0"],
    ["POST", "/v1beta/models/%6d:generateContent"],
    ["POST", "/v1beta/models/a/b/c:generateContent"],
    ["POST", "/v1beta/models/*:generateContent"],
    ["POST", "/v1beta/models/:generateContent"],
    ["POST", "/v1beta/models/m:embedContent"],
    ["GET", "http://h/v1/models"],
    ["GET", "/"],
  ])("%s %s is unknown", (method, target) => {
    expect(find(method, target)).toBe("route_unknown");
  });

  test("names the model where its path does", () => {
    const found = findRoute("POST", "/v1beta/models/google/gemini-2.5-flash:generateContent", []);
    expect("missing" in found ? found : found.model).toBe("google/gemini-2.5-flash");
  });

  test("exists with another method", () => {
    expect(find("GET", "/v1/messages")).toBe("method_not_allowed");
    expect(find("post", "/v1/messages")).toBe("method_not_allowed");
    expect(find("HEAD", "/v1/models")).toBe("method_not_allowed");
  });

  test("that two dialects share goes by the header that one of them sends", () => {
    expect(find("GET", "/v1/models", ["Anthropic-Version", "2023-06-01"])).toBe("anthropic.models");
    const paged = find("GET", "/v1/models?limit=100", ["anthropic-version", "2023-06-01"]);
    expect(paged).toBe("anthropic.models");
    expect(find("GET", "/v1/models", ["x-goog-api-key", "k"])).toBe("gemini.models.v1");
    expect(find("GET", "/v1/models", ["accept", "anthropic-version"])).toBe("openai.models");
  });
});

test("every dialect's routes have names of their own", () => {
  const ids = Object.values(DIALECTS).flatMap(({ routes }) => routes.map(({ id }) => id));
  expect(new Set(ids).size).toBe(ids.length);
});

describe.each(Object.values(DIALECTS))("the judged body of $name", (dialect) => {
  const [route] = dialect.routes as [(typeof dialect.routes)[number]];
  const value = {
    messages: [{ role: "user", content: 'é "quoted" \n' }],
    model: "asked",
    stream: true,
    temperature: 0.5,
  };
  const set = { model: "real", maxOutputTokens: 9 };

  test("goes upstream as if it had been set whole", () => {
    const bytes = upstreamBytes(dialect, route, judgedBody(dialect, value), set);
    const whole = dialect.upstreamBody(route, value, set);
    expect(JSON.parse(bytes.toString())).toEqual(whole);
  });

  test("is JSON too when all or none of its members are set", () => {
    const own = Object.fromEntries(dialect.settableMembers.slice(0, 1).map((name) => [name, {}]));
    const only = judgedBody(dialect, own);
    expect(only.bulk.length).toBe(0);
    const unset = { model: "m", maxOutputTokens: undefined };
    const bytes = upstreamBytes(dialect, route, only, unset);
    expect(JSON.parse(bytes.toString())).toEqual(dialect.upstreamBody(route, own, unset));
  });

  test("is set in no member but those that it names", () => {
    const changed = dialect.upstreamBody(route, { stream: true, other: 1 }, set);
    for (const name of Object.keys(changed)) {
      if (name !== "other" && name !== "stream") expect(dialect.settableMembers).toContain(name);
    }
  });
});
