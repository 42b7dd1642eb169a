import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isViolation, readHead } from "../../../../node/dataplane/head-rules.ts";

const LIMITS = { headersMax: 8 };
const read = (rawHeaders: string[], target = "/", httpVersion = "1.1") =>
  readHead({ httpVersion, target, rawHeaders }, LIMITS);

describe("the framing of a body", () => {
  test.each<[string, string[], number | undefined]>([
    ["none", [], 0],
    ["empty", ["Content-Length", "0"], 0],
    ["declared", ["cOnTeNt-LeNgTh", "17"], 17],
    ["chunked", ["Transfer-Encoding", "CHUNKED"], undefined],
  ])("%s", (_name, headers, bodyBytes) => {
    expect(read(["host", "a", ...headers])).toEqual({ bodyBytes });
  });
});

describe("a Host is a name or address with a port at most", () => {
  test.each(["a", "a.b-c_d:80", "127.0.0.1", "[::1]:4000", "A.EXAMPLE"])("%s", (host) => {
    expect(read(["Host", host])).toEqual({ bodyBytes: 0 });
  });
  test.each(["", "a b", "a,b", "a/b", "a@b", "a:", "a:b", "a:123456", "[::1", "a\tb", "é"])(
    "not %j",
    (host) => {
      expect(read(["Host", host])).toMatchObject({ reason: "malformed_http" });
    },
  );
});

test("a length beside a coding is refused, whichever comes first", () => {
  const framed = ["content-length", "3", "transfer-encoding", "chunked"];
  for (const pairs of [framed, [...framed.slice(2), ...framed.slice(0, 2)]]) {
    expect(read(["host", "a", ...pairs])).toMatchObject({ reason: "malformed_http" });
  }
});

test("names of other headers decide nothing, whatever their length", () => {
  const others = ["hosf", "x", "upgrad3", "x", "content-lengtH", "3", "transfer-encodinG", "x"];
  expect(read(["host", "a", ...others.slice(0, 4)])).toEqual({ bodyBytes: 0 });
  expect(read(["host", "a", ...others.slice(4)])).toMatchObject({ reason: "malformed_http" });
});

test("an Upgrade to anything but h2c is refused", () => {
  expect(read(["host", "a", "upgrade", "H2C"])).toEqual({ bodyBytes: 0 });
  for (const protocol of ["websocket", "h2c, websocket", "", "HTTP/2.0"]) {
    expect(read(["host", "a", "upgrade", protocol])).toMatchObject({ reason: "upgrade_refused" });
  }
});

test("headers are counted up to headers_max", () => {
  const some = (count: number) => Array.from({ length: count }, () => ["x", ""]).flat();
  expect(read(["host", "a", ...some(7)])).toEqual({ bodyBytes: 0 });
  expect(read(["host", "a", ...some(8)])).toMatchObject({ reason: "head_too_large" });
});

test("of any head that passes, exactly one reading is left", () => {
  const name = fc.constantFrom(
    "host",
    "Host",
    "content-length",
    "Content-Length",
    "x",
    "transfer-encoding",
    "upgrade",
  );
  const value = fc.constantFrom("a", "3", "03", "3,3", "chunked", "gzip", "", "h2c");
  const headers = fc.array(fc.tuple(name, value), { maxLength: 6 });
  fc.assert(
    fc.property(headers, fc.constantFrom("/", "*", "http://a/"), (pairs, target) => {
      const head = read(pairs.flat(), target);
      if (isViolation(head)) return;
      const named = (wanted: string) => pairs.filter(([own]) => own.toLowerCase() === wanted);
      expect(target.startsWith("/")).toBe(true);
      expect(named("host")).toHaveLength(1);
      expect(named("content-length").length + named("transfer-encoding").length).toBeLessThan(2);
      for (const [, coding] of named("transfer-encoding")) expect(coding).toBe("chunked");
      for (const [, length] of named("content-length")) expect(Number(length)).toBe(head.bodyBytes);
    }),
    { numRuns: 2_000 },
  );
});
