import { describe, expect, test } from "vitest";
import type { OriginCall } from "../../../../../node/dataplane/origin/call.ts";
import { requestHead } from "../../../../../node/dataplane/origin/request-head.ts";

const TO = { host: "api.example.com", persists: true };

function headOf(over: Partial<OriginCall> = {}, to = TO): string {
  const call = { method: "POST", path: "/", headers: [], body: Buffer.from("{}"), ...over };
  return requestHead(call, to);
}

describe("a request's head", () => {
  test("says to whom it goes, what becomes of its connection and where it ends", () => {
    const headers = ["authorization", "Bearer x", "content-length", "2"];
    expect(headOf({ headers })).toBe(
      "POST / HTTP/1.1\r\nhost: api.example.com\r\nconnection: keep-alive\r\n" +
        "authorization: Bearer x\r\ncontent-length: 2\r\n\r\n",
    );
    expect(headOf({}, { ...TO, persists: false })).toContain("\r\nconnection: close\r\n");
    const asked = headOf({ method: "GET", body: Buffer.alloc(0), upgrade: "websocket" });
    expect(asked).toContain("\r\nconnection: upgrade\r\nupgrade: websocket\r\n");
  });

  test("names a length of nothing only where something is expected", () => {
    const body = new Uint8Array(0);
    for (const method of ["POST", "PUT", "PATCH"]) {
      expect(headOf({ method, body })).toContain("content-length: 0");
    }
    for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
      expect(headOf({ method, body })).not.toContain("content-length");
    }
    expect(headOf({ method: "DELETE" })).toContain("content-length: 2");
  });

  test.each<[string, Partial<OriginCall>]>([
    ["a method with a line in it", { method: "GET / HTTP/1.1\r\nx: y\r\n" }],
    ["no method", { method: "" }],
    ["a path with a space", { path: "/a b" }],
    ["a path with a line in it", { path: "/a\r\nx:y" }],
    ["a path that is none", { path: "http://elsewhere/" }],
    ["a path beyond bytes", { path: "/\u0130" }],
    ["a value with a line in it", { headers: ["x", "y\r\nz: a"] }],
    ["a value with a LF", { headers: ["x", "y\nz: a"] }],
    ["a value with a NUL", { headers: ["x", "y\0"] }],
    ["a value whose character ends in a LF's byte", { headers: ["x", "\u010a"] }],
    ["a name with a colon", { headers: ["x: y", "z"] }],
    ["a name with a line in it", { headers: ["x\r\ny", "z"] }],
    ["no name", { headers: ["", "z"] }],
    ["another host", { headers: ["host", "elsewhere"] }],
    ["another host, in capitals", { headers: ["Host", "elsewhere"] }],
    ["another connection", { headers: ["connection", "close"] }],
    ["another framing", { headers: ["transfer-encoding", "chunked"] }],
    ["another length", { headers: ["content-length", "3"] }],
    ["another length as well", { headers: ["content-length", "2", "content-length", "02"] }],
    ["an expectation", { headers: ["expect", "100-continue"] }],
    ["an upgrade", { headers: ["upgrade", "h2c"] }],
  ])("is never made of %s", (_name, over) => {
    expect(() => headOf(over)).toThrow();
  });
});
