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
    ["content-type", "application/json", "content-encoding", "gzip"],
    "content_encoding_unsupported",
  ],
  [
    ["content-type", "application/json", "content-encoding", "identity, br"],
    "content_encoding_unsupported",
  ],
  [["content-type", "application/json", "Content-Type", "application/json"], "malformed_http"],
])("objects to %j", (headers, reason) => {
  expect(bodyHeadersObjection(head(headers), route("generate"))).toMatchObject({ missing: reason });
});

test("asks nothing of a route without a body", () => {
  expect(bodyHeadersObjection(head([]), route("models"))).toBeUndefined();
});
