import { describe, expect, test } from "vitest";
import { readAbsolute } from "../../../../../node/dataplane/tunnel/absolute-target.ts";

describe("a target in absolute form", () => {
  test("is taken apart, and in origin form it is none", () => {
    expect(readAbsolute("/v1/models")).toBeUndefined();
    expect(readAbsolute("http://Example.com:8080/a?b=c")).toEqual({
      to: { host: "example.com", port: 8_080 },
      path: "/a?b=c",
    });
    expect(readAbsolute("http://example.com")).toMatchObject({ to: { port: 80 }, path: "/" });
    expect(readAbsolute("http://example.com?q")).toMatchObject({ path: "/?q" });
  });

  test.each([
    "http://user@example.com/",
    "http://user:word@example.com/",
    "http://granted.example.com@evil.example.com/",
    "http://granted.example.com\\@evil.example.com/",
    "http://[::1]/",
    "http://example.com/#part",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:80x/",
    "http:///path",
    "http://ex ample.com/",
    "http://example.com/a b",
    "https://example.com/",
    "ftp://example.com/",
    "example.com/",
    "*",
    "",
  ])("%j is refused", (target) => {
    expect(readAbsolute(target)).toMatchObject({ reason: "malformed_http" });
  });
});
