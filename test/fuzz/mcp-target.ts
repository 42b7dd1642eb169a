import assert from "node:assert/strict";
import { createParser } from "eventsource-parser";
import type { JsonObject } from "../../node/dataplane/dialects/dialect.ts";
import { readMcpRequest } from "../../node/dataplane/dialects/mcp-request.ts";
import { parseStrict } from "../../node/dataplane/strict-json.ts";
import { relay, SECRET } from "../unit/node/dataplane/relay-fixture.ts";
import type { Target } from "./target.ts";

const bytesOf = (of: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(of)));
const rpc = (of: object) => bytesOf({ jsonrpc: "2.0", id: 1, ...of });
const WORDS = [
  '"id":1',
  '"id":2',
  '"method":"tools/call"',
  '"method":"tools/list"',
  '"params":{',
  '"name":"forbidden"',
  '"Name":',
  '"arguments":{"a":"b"}',
  '"result":{',
  '"tools":[',
  '{"name":"forbidden"}',
  '"text":"S-123456"',
  "\\u0053-",
  "123456",
  ",",
  "}",
  "]",
];

/** What a client says to an MCP server. */
export const MCP_REQUEST: Target = {
  name: "mcp-request",
  seeds: [
    rpc({ method: "tools/call", params: { name: "look", arguments: { a: "b" } } }),
    rpc({ method: "resources/read", params: { uri: "file:///a/b" } }),
    rpc({ method: "prompts/get", params: { name: "review" } }),
    bytesOf({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } }),
  ],
  words: WORDS,
  run: (bytes) => {
    const parsed = parseStrict(bytes, { depthMax: 16 });
    if (!("value" in parsed) || !isObject(parsed.value)) return;
    const read = readMcpRequest(parsed.value as JsonObject);
    if ("missing" in read || read.unpricedParameter !== undefined) return;
    const other = JSON.parse(Buffer.from(bytes).toString());
    for (const text of textsIn(other)) {
      assert.ok(
        read.texts.some((one) => one.includes(text)),
        "every text of it is scanned",
      );
    }
    const { method, params } = other;
    const names: Record<string, unknown> = {
      "tools/call": params?.name,
      "prompts/get": params?.name,
      "resources/read": params?.uri,
    };
    if (!(method in names)) return;
    assert.equal(read.tools.length, 1, "what is used is one tool");
    const named = read.tools[0]?.name;
    if (method !== "resources/read" && named !== undefined) assert.equal(named, names[method]);
  },
};

/** What an MCP server says to its client: as a document, then as an event of a stream. */
export const MCP_ANSWER: Target = {
  name: "mcp-answer",
  seeds: [
    rpc({ result: { content: [{ type: "text", text: "seen S-12" }] } }),
    rpc({ result: { tools: [{ name: "look" }, { name: "forbidden" }] } }),
    rpc({ error: { code: -32_000, message: "no" } }),
  ],
  words: WORDS,
  run: (bytes, cut) => {
    const text = Buffer.from(bytes)
      .toString("latin1")
      .replaceAll(/[\r\n]/g, " ");
    const line = Buffer.from(text, "latin1");
    const event = Buffer.concat([Buffer.from("data: "), line, Buffer.from("\n\n")]);
    const said = [
      relayed(line, cut, "application/json"),
      ...eventsIn(relayed(event, cut, "text/event-stream")),
    ];
    for (const one of said.filter((words) => words !== "")) {
      const other = JSON.parse(one);
      for (const words of textsIn(other)) assert.doesNotMatch(words, SECRET);
      const listed: unknown = other?.result?.tools;
      if (!Array.isArray(listed)) continue;
      assert.ok(
        !listed.some((tool) => tool?.name === "forbidden"),
        "what is not granted is not shown",
      );
    }
  },
};

function relayed(bytes: Uint8Array, cut: number, type: string): string {
  const { exchange, sink } = relay("mcp", { stream: true });
  sink.onHead(200, ["content-type", type]);
  sink.onData(bytes.subarray(0, cut));
  sink.onData(bytes.subarray(cut));
  sink.onEnd();
  const { answered } = exchange;
  return answered?.status === 200 ? Buffer.from(answered.body).toString() : exchange.written;
}

function eventsIn(stream: string): readonly string[] {
  const events: string[] = [];
  createParser({ onEvent: ({ data }) => void events.push(data) }).feed(stream);
  return events;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every string of a value, names of members as well. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  const names = Array.isArray(value) ? [] : Object.keys(value);
  return [...names, ...Object.values(value).flatMap(textsIn)];
}
