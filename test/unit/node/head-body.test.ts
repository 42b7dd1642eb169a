import { expect, test } from "vitest";
import type { Route } from "../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../node/dataplane/dialects/registry.ts";
import { bodyHeadersObjection } from "../../../node/head-body.ts";

const route = (kind: Route["kind"]): Route => {
  const found = DIALECTS.openai.routes.find((one) => one.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} route`);
  return found;
};
const head = (rawHeaders: readonly string[]) => ({
  method: "POST",
  target: "/",
  rawHeaders,
  peer: "::1",
});

test.each([
  [["content-type", "application/json"]],
  [["Content-Type", "application/json; charset=utf-8"]],
  [["content-type", 'application/json;charset="UTF-8" ']],
  [["content-type", "application/json", "content-encoding", "identity"]],
  [["content-type", "application/json", "Content-Encoding", "GZip"]],
  [["content-type", "application/json", "content-encoding", "br"]],
  [["content-type", "application/json", "content-encoding", " zstd "]],
])("reads %j", (headers) => {
  expect(bodyHeadersObjection(head(headers), route("generate"))).toBeUndefined();
});

test.each([
  [[], "content_type_unsupported"],
  [["content-type", "text/plain"], "content_type_unsupported"],
  [["content-type", "application/json; charset=utf-16"], "content_type_unsupported"],
  [["content-type", "application/json; boundary=x"], "content_type_unsupported"],
  [["content-type", "application/jsonp"], "content_type_unsupported"],
  [
    ["content-type", "application/json", "content-encoding", "deflate"],
    "content_encoding_unsupported",
  ],
  [
    ["content-type", "application/json", "content-encoding", "identity, br"],
    "content_encoding_unsupported",
  ],
  [
    ["content-type", "application/json", "content-encoding", "gzip, gzip"],
    "content_encoding_unsupported",
  ],
  [
    ["content-encoding", "gzip", "content-type", "application/json", "Content-Encoding", "gzip"],
    "malformed_http",
  ],
  [["content-type", "application/json", "Content-Type", "application/json"], "malformed_http"],
])("objects to %j", (headers, reason) => {
  expect(bodyHeadersObjection(head(headers), route("generate"))).toMatchObject({ missing: reason });
});

test("asks nothing of a route without a body", () => {
  expect(bodyHeadersObjection(head([]), route("models"))).toBeUndefined();
});

test("takes nothing compressed where bodies are read in the loop", () => {
  const delegate = { ...route("generate"), kind: "delegate" } as const;
  const headers = ["content-type", "application/json", "content-encoding", "gzip"];
  const objection = bodyHeadersObjection(head(headers), delegate);
  expect(objection).toMatchObject({ missing: "content_encoding_unsupported" });
});
