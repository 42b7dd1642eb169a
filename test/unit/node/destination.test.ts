import { expect, test } from "vitest";
import { routeWithin } from "../../../node/destination.ts";
import { policy, provider } from "../../support/builders.ts";

const HOST = "api.example.com";

test.each([
  ["openai", "POST", "/v1/chat/completions", "openai.chat"],
  ["openai", "POST", "/v1/responses", "openai.responses"],
  ["openai", "POST", "/v1/embeddings", "openai.embeddings"],
  ["openai", "GET", "/v1/realtime?model=m", "openai.realtime"],
  ["anthropic", "POST", "/v1/messages", "anthropic.messages"],
  ["anthropic", "POST", "/v1/messages/count_tokens", "anthropic.count_tokens"],
  ["gemini", "POST", "/v1beta/models/m:generateContent", "gemini.generate.v1beta"],
  ["anthropic", "POST", "/v1/chat/completions", "route_unknown"],
  ["openai", "POST", "/v1/messages", "route_unknown"],
  ["openai", "POST", "/v1/files", "route_unknown"],
  ["openai", "GET", "/v1/chat/completions", "method_not_allowed"],
  ["openai", "GET", "/v1/messages", "route_unknown"],
  [
    "gemini",
    "POST",
    "/v1beta/models/m:streamGenerateContent",
    "streams are served with alt=sse only",
  ],
  ["openai", "GET", "/v1/realtime", "a session names its model"],
] as const)("within TLS to a provider of %s, %s %s is %s", (dialect, method, path, expected) => {
  const one = provider({ dialect, origin: `https://${HOST}`, host: HOST, basePath: "/base" });
  const found = routeWithin(
    { scheme: "https", host: HOST, port: 443, as: "request", original: undefined },
    { method, target: `/base${path}`, rawHeaders: [], peer: "127.0.0.1" },
    policy({ providers: new Map([["one", one]]) }),
  );
  expect("missing" in found ? (found.detail ?? found.missing) : found.route.id).toBe(expected);
});

test("a path that dialects share is the provider's own, whatever headers another dialect has", () => {
  const one = provider({ dialect: "openai", origin: `https://${HOST}`, host: HOST, basePath: "" });
  const found = routeWithin(
    { scheme: "https", host: HOST, port: 443, as: "request", original: undefined },
    {
      method: "GET",
      target: "/v1/models",
      rawHeaders: ["anthropic-version", "2023-06-01"],
      peer: "127.0.0.1",
    },
    policy({ providers: new Map([["one", one]]) }),
  );
  expect("missing" in found ? found.missing : found.route.id).toBe("openai.models");
});
