import { describe, expect, test } from "vitest";
import { parseBaseUrl } from "../../../policy/base-url.ts";
import {
  destinationGranted,
  hostGranted,
  isHostName,
  isHostPattern,
} from "../../../policy/hosts.ts";

describe("hostGranted", () => {
  const hosts = ["api.example.com", "*.cdn.example.net"];

  test.each(["api.example.com", "a.cdn.example.net", "a.b.cdn.example.net"])(
    "%s is granted",
    (host) => {
      expect(hostGranted(hosts, host)).toBe(true);
    },
  );

  test.each([
    "example.com",
    "xapi.example.com",
    "a.api.example.com",
    "api.example.com.",
    "API.example.com",
    "api.example.com:443",
    "cdn.example.net",
    ".cdn.example.net",
    "a..cdn.example.net",
    "evilcdn.example.net",
    "a/b.cdn.example.net",
    "a@b.cdn.example.net",
    "-.cdn.example.net",
    "",
  ])("%j is not", (host) => {
    expect(hostGranted(hosts, host)).toBe(false);
  });
});

describe("host grammar", () => {
  test.each(["api.example.com", "localhost", "xn--mnchen-3ya.de", "a_b.internal", "1password.com"])(
    "%s is a host name",
    (text) => {
      expect(isHostName(text)).toBe(true);
    },
  );

  // What resolvers read as an address must not pass for a name.
  test.each([
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "a.0x7f",
    "example.123",
    "Example.com",
    "example.com.",
    "a..b",
    "-a.com",
    "a-.com",
    "münchen.de",
    "[::1]",
    "a b.com",
    `${"a".repeat(64)}.com`,
    `${"a.".repeat(127)}com`,
  ])("%s is not", (text) => {
    expect(isHostName(text)).toBe(false);
  });

  test.each(["*", "*.com", "*.", "a.*.com", "*a.example.com", "**.example.com", "*.*.com"])(
    "%s is no pattern",
    (text) => {
      expect(isHostPattern(text)).toBe(false);
    },
  );
});

describe("parseBaseUrl", () => {
  test("splits what it takes", () => {
    expect(parseBaseUrl("https://proxy.example.com:8443/llm/v2/")).toEqual({
      origin: "https://proxy.example.com:8443",
      host: "proxy.example.com",
      path: "/llm/v2",
    });
    expect(parseBaseUrl("http://127.0.0.1:9000")).toEqual({
      origin: "http://127.0.0.1:9000",
      host: "127.0.0.1",
      path: "",
    });
  });

  test.each([
    "http://api.openai.com",
    "http://10.0.0.7:8080",
    "http://127.0.0.1.example.com",
    "https://user:pass@api.openai.com",
    "https://api.openai.com?x=1",
    "https://api.openai.com/#a",
    "https://API.openai.com",
    "https://api.openai.com:443",
    "https://api.openai.com/a/../b",
    "https://api.openai.com//a",
    "https://api.openai.com/a%2fb",
    "https://0x7f.1",
    "ftp://api.openai.com",
    "api.openai.com",
    "",
  ])("refuses %s", (text) => {
    expect(parseBaseUrl(text)).toBeUndefined();
  });
});

describe("destinationGranted", () => {
  const hosts = [
    "git.example.com",
    "*.example.org:8443",
    "[::1]",
    "10.0.0.1",
    "db.example.com:5432",
  ];

  test.each([
    ["git.example.com", 443],
    ["git.example.com", 80],
    ["a.example.org", 8443],
    ["db.example.com", 5432],
  ])("%s:%i is granted", (host, port) => {
    expect(destinationGranted(hosts, host, port)).toBe(true);
  });

  test.each([
    ["git.example.com", 22],
    ["a.example.org", 443],
    ["example.org", 8443],
    ["db.example.com", 443],
    ["GIT.example.com", 443],
    ["git.example.com.", 443],
    // An address is never a name, whatever a grant says.
    ["10.0.0.1", 443],
    ["[::1]", 443],
    ["2130706433", 443],
    ["0x7f.1", 443],
  ])("%s:%i is not", (host, port) => {
    expect(destinationGranted(hosts, host, port)).toBe(false);
  });

  test("a pattern may name one port", () => {
    expect(isHostPattern("a.example.com:8443")).toBe(true);
    for (const text of ["a.example.com:0", "a.example.com:65536", "a.example.com:", "a:b"]) {
      expect(isHostPattern(text)).toBe(false);
    }
  });
});
