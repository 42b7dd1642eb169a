import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { replyEnvelope, requestEnvelope } from "../../../mesh/envelope.ts";
import {
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { REQUEST_METHODS } from "../../../proto/subjects.ts";

const NAMES = { node: "node-1", bootId: "boot-1", requestId: "r-1" };
const bytesOf = (body: unknown) =>
  toBinary(NodeRequestSchema, create(NodeRequestSchema, { ...NAMES, body: body as never }));

describe("a request's envelope", () => {
  test.each(REQUEST_METHODS)("names the node, the request and the method %s", (method) => {
    const bytes = bytesOf({ case: method, value: {} } as Partial<NodeRequest["body"]>);
    expect(requestEnvelope(bytes)).toEqual({ node: "node-1", requestId: "r-1", body: method });
  });

  test("of two bodies and two names the last ones count, as for whoever reads the message", () => {
    const first = bytesOf({ case: "lease", value: { account: "agent/a/1" } });
    const second = toBinary(
      NodeRequestSchema,
      create(NodeRequestSchema, { node: "node-2", body: { case: "nonce", value: {} } }),
    );
    expect(requestEnvelope(Buffer.concat([first, second]))).toEqual({
      node: "node-2",
      requestId: "r-1",
      body: "nonce",
    });
  });

  test("passes over members of a newer version", () => {
    const bytes = Buffer.concat([bytesOf({ case: "nonce", value: {} }), Buffer.from([0xf8, 7, 1])]);
    expect(requestEnvelope(bytes)).toMatchObject({ body: "nonce" });
  });

  test.each([
    ["half a tag", [0xff]],
    ["a length beyond the end", [0x0a, 0x05, 0x61]],
    ["a number where a name belongs", [0x08, 0x01]],
    ["a number where a body belongs", [0x58, 0x01]],
  ])("is none of %s", (_what, bytes) => {
    expect(requestEnvelope(Uint8Array.from(bytes))).toBeUndefined();
  });

  test("of nothing names nothing", () => {
    expect(requestEnvelope(new Uint8Array())).toEqual({ node: "", requestId: "", body: undefined });
  });
});

test("a reply's envelope tells a refusal from an answer", () => {
  const bytes = (body: unknown) =>
    toBinary(NodeReplySchema, create(NodeReplySchema, { requestId: "r-2", body: body as never }));
  const of = (body: string) => ({ node: "", requestId: "r-2", body });
  expect(replyEnvelope(bytes({ case: "batch", value: {} }))).toEqual(of("batch"));
  expect(replyEnvelope(bytes({ case: "refused", value: {} }))).toEqual(of("refused"));
});
