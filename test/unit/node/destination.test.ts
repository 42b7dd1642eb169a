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
] as const)("within TLS to a provider of %s, %s %s is %s", (dialect, method, path, expected) => {
  const one = provider({ dialect, origin: `https://${HOST}`, host: HOST, basePath: "/base" });
  const found = routeWithin(
    { scheme: "https", host: HOST, port: 443, as: "request", original: undefined },
    { method, target: `/base${path}`, rawHeaders: [], peer: "127.0.0.1" },
    policy({ providers: new Map([["one", one]]) }),
  );
  expect("missing" in found ? found.missing : found.route.id).toBe(expected);
});
