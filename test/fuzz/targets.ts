import assert from "node:assert/strict";
import { createParser } from "eventsource-parser";
import { readHead } from "../../node/dataplane/head-rules.ts";
import { readFrame, type SseFrame, SseFrames } from "../../node/dataplane/sse-frames.ts";
import { parseStrict } from "../../node/dataplane/strict-json.ts";
import { ClientHelloReader, type HelloReading } from "../../node/dataplane/tls/client-hello.ts";
import { readAbsolute } from "../../node/dataplane/tunnel/absolute-target.ts";
import { readConnect } from "../../node/dataplane/tunnel/connect-head.ts";
import { relay, SECRET } from "../unit/node/dataplane/relay-fixture.ts";
import { clientHello } from "../unit/node/dataplane/tls/hello-bytes.ts";
import { DECODED } from "./decoded-target.ts";
import { DNS } from "./dns-target.ts";
import { HANDSHAKE } from "./handshake-target.ts";
import { HTTP2_HEAD } from "./http2-head-target.ts";
import { MCP_ANSWER, MCP_REQUEST } from "./mcp-target.ts";
import { REQUEST } from "./request-target.ts";
import type { Target } from "./target.ts";

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

const hello: Target = {
  name: "client-hello",
  seeds: [
    clientHello({ serverNames: ["far.example.com"] }),
    clientHello({ protocols: ["h2"] }),
  ].map((one) => new Uint8Array(one)),
  words: ["\x16\x03\x01", "\x00\x00", "\xfe\x0d", "\x00\x10", "\x01\x00", "\x02h2", "\x08http/1.1"],
  run: (bytes, cut) => {
    const whole = new ClientHelloReader().push(bytes);
    const reader = new ClientHelloReader();
    let pieces: HelloReading = reader.push(bytes.subarray(0, cut));
    if (pieces === "more") pieces = reader.push(bytes.subarray(cut));
    assert.deepEqual(pieces, whole, "where it is cut must not matter");
    if (whole !== "more" && "hello" in whole && whole.hello.serverName !== undefined) {
      assert.match(whole.hello.serverName, /^[\x21-\x7e]+$/);
    }
  },
};

const sse: Target = {
  name: "sse",
  seeds: ["data: {}\n\n", "event: x\r\ndata: a\rdata: b\r\n\r\n", ":c\nid: 1\nretry: 2\n\n"].map(
    bytesOf,
  ),
  words: ["data:", "data: ", "event: ", "id:", "\r\n", "\r", "\n\n", "\xef\xbb\xbf", "\x00", ":"],
  run: (bytes, cut) => {
    const whole = framesOf([bytes]);
    const pieces = framesOf([bytes.subarray(0, cut), bytes.subarray(cut)]);
    assert.deepEqual(saidBy(pieces), saidBy(whole), "where it is cut must not matter");
    const joined = Buffer.concat(whole.map((frame) => frame.bytes));
    assert.deepEqual(joined, Buffer.from(bytes.subarray(0, joined.length)), "bytes are kept");
  },
};

function framesOf(chunks: readonly Uint8Array[]): readonly SseFrame[] {
  const reader = new SseFrames({ frameBytesMax: 4_096 });
  const frames = chunks.flatMap((chunk) => [...reader.push(chunk)]);
  const rest = reader.end();
  return rest === undefined ? frames : [...frames, rest];
}

function saidBy(frames: readonly SseFrame[]) {
  const said = frames
    .map(readFrame)
    .filter((words) => words === undefined || words.data !== undefined);
  return said.map((words) => words && { event: words.event, data: words.data });
}

const json: Target = {
  name: "json",
  seeds: ['{"a":[1,"x",null,{"b":true}]}', '{"a":"\\ud83d\\ude00","b":1e3}', "[[[]]]"].map(bytesOf),
  words: [
    '"a":',
    '{"',
    "}",
    "[",
    "]",
    ",",
    "\\u0061",
    "\\ud800",
    "1e999",
    "-0",
    "\xc3\x28",
    "__proto__",
  ],
  run: (bytes) => {
    const read = parseStrict(bytes, { depthMax: 16 });
    if (!("value" in read)) return;
    const again = parseStrict(Buffer.from(JSON.stringify(read.value)), { depthMax: 16 });
    assert.ok("value" in again, "what was read can be sent");
    assert.equal(JSON.stringify(again.value), JSON.stringify(read.value), "it has one reading");
  },
};

const head: Target = {
  name: "heads",
  seeds: [
    "far.example.com:443\nhost\nfar.example.com:443",
    "http://far.example.com:8080/a?b\nhost\nfar.example.com:8080\ncontent-length\n3",
    "/v1/x\nhost\na\ntransfer-encoding\nchunked",
  ].map(bytesOf),
  words: [
    "\nhost\na",
    "\ncontent-length\n3",
    "\ntransfer-encoding\nchunked",
    "host",
    "content-length",
    "transfer-encoding",
    "\n",
    "chunked",
    "@",
    "#",
    "http://",
    "[::1]",
    "%2e",
  ],
  run: (bytes) => {
    const [target = "", ...fields] = Buffer.from(bytes).toString("latin1").split("\n");
    const rawHeaders = fields.length % 2 === 0 ? fields : fields.slice(1);
    const of = { httpVersion: "1.1", target, rawHeaders };
    const asked = readConnect(of, { headersMax: 128 });
    if (!("reason" in asked)) assertPlace(asked);
    const absolute = readAbsolute(target);
    if (absolute !== undefined && "to" in absolute) {
      assertPlace(absolute.to);
      assert.match(absolute.path, /^\/[\x21-\x7e]*$/);
    }
    const framing = readHead(of, { headersMax: 128 });
    if ("reason" in framing) return;
    const named = rawHeaders.filter(
      (name, i) => i % 2 === 0 && /^(content-length|transfer-encoding)$/i.test(name),
    );
    assert.ok(named.length <= 1, "a body with two framings is refused");
  },
};

function assertPlace({ host, port }: { readonly host: string; readonly port: number }): void {
  assert.match(host, /^[a-z0-9._-]+$|^\[[0-9a-f:.]+\]$/);
  assert.ok(Number.isInteger(port) && port >= 1 && port <= 65_535);
}

const chunk = (delta: object): string =>
  `data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta }] })}\n\n`;

const stream: Target = {
  name: "stream",
  seeds: [
    chunk({ content: "hello " }) + chunk({ content: "S-12" }) + chunk({ content: "3456" }),
    chunk({ content: "S-123456" }),
    `${chunk({ content: "S-1" })}${chunk({ tool_calls: [{ index: 0, function: { name: "f" } }] })}data: [DONE]\n\n`,
  ].map(bytesOf),
  words: [
    "S-",
    "123456",
    '"content":"',
    '"delta":{',
    '"index":1',
    "data: ",
    "\n\n",
    "\\u0053",
    '"refusal":"',
  ],
  run: (bytes, cut) => {
    const { exchange, sink } = relay("openai");
    sink.onHead(200, ["content-type", "text/event-stream"]);
    sink.onData(bytes.subarray(0, cut));
    sink.onData(bytes.subarray(cut));
    sink.onEnd();
    const sent = textsOf(exchange.written);
    for (const [place, text] of textsOf(Buffer.from(bytes).toString())) {
      const match = SECRET.exec(text);
      if (match === null) continue;
      assert.ok((sent.get(place)?.length ?? 0) <= match.index, "no byte of a match is released");
    }
  },
};

/** What a client of this dialect joins, by choice and member, up to what it cannot read. */
function textsOf(body: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  let isReadable = true;
  const parser = createParser({
    onEvent: ({ data }) => {
      isReadable &&= data !== "[DONE]";
      if (isReadable) isReadable = addTexts(texts, data);
    },
  });
  parser.feed(body);
  return texts;
}

function addTexts(texts: Map<string, string>, data: string): boolean {
  const read = parseStrict(Buffer.from(data), { depthMax: 64, mustRoundTrip: false });
  const choices =
    "value" in read ? (read.value as { choices?: unknown } | null)?.choices : undefined;
  if (!Array.isArray(choices)) return false;
  for (const choice of choices as ({ index?: unknown; delta?: object } | null)[]) {
    for (const [name, value] of Object.entries(choice?.delta ?? {})) {
      const place = `${choice?.index ?? 0}.${name}`;
      if (typeof value === "string") texts.set(place, (texts.get(place) ?? "") + value);
    }
  }
  return true;
}

/** Every parser that is fuzzed, by name. */
export const TARGETS: readonly Target[] = [
  hello,
  sse,
  json,
  head,
  stream,
  HTTP2_HEAD,
  REQUEST,
  HANDSHAKE,
  DECODED,
  DNS,
  MCP_REQUEST,
  MCP_ANSWER,
];
