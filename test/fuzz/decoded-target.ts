import assert from "node:assert/strict";
import {
  brotliCompressSync,
  brotliDecompressSync,
  gunzipSync,
  gzipSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { relay, SECRET, streamOf } from "../unit/node/dataplane/relay-fixture.ts";
import type { Target } from "./target.ts";

const CODINGS = [
  { name: "gzip", compress: gzipSync, decompress: gunzipSync },
  { name: "br", compress: brotliCompressSync, decompress: brotliDecompressSync },
  { name: "zstd", compress: zstdCompressSync, decompress: zstdDecompressSync },
] as const;
const BYTES_MAX = 1_000_000;

const ANSWERS = [
  streamOf("openai", ["one ", "two "]).join(""),
  streamOf("openai", ["it is S-12", "3456, ", "you know"]).join(""),
];

/** The coding's number, then an answer in it. */
export const DECODED: Target = {
  name: "decoded",
  seeds: CODINGS.flatMap(({ compress }, no) =>
    ANSWERS.map((text) => new Uint8Array(Buffer.concat([Buffer.of(no), compress(text)]))),
  ),
  words: ["\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd", "\x00\x00", "\xff", "data: ", "S-123456"],
  run: async (bytes, cut) => {
    const coding = CODINGS[(bytes[0] ?? 0) % CODINGS.length] ?? CODINGS[0];
    const sent = bytes.subarray(1);
    const at = Math.min(cut, sent.length);
    const whole = await relayed([sent], coding.name);
    const pieces = await relayed([sent.subarray(0, at), sent.subarray(at)], coding.name);
    for (const { written } of [whole, pieces]) assert.doesNotMatch(written, SECRET);
    // Of what is broken a decoder may say more or less before it finds that out.
    const [less, more] = [whole.written, pieces.written].sort((a, b) => a.length - b.length);
    assert.ok(more?.startsWith(less ?? ""), "where it is cut changes nothing that is said");
    const plain = decompressed(coding, sent);
    // One whose last bytes are missing may be done before that is known: all that it said was scanned.
    if (plain === undefined) return;
    if ([whole, pieces].some(({ kind }) => kind === "done")) assert.deepEqual(pieces, whole);
    // What another reader gets out of it, relayed as if it had come so.
    const asPlain = await relayed([plain], undefined);
    assert.ok(asPlain.written.startsWith(whole.written), "nothing is said that was not");
    if (whole.kind === "done") assert.deepEqual(whole, asPlain);
  },
};

async function relayed(pieces: readonly Uint8Array[], coding: string | undefined) {
  const { exchange, sink, outcomes } = relay("openai");
  exchange.markStreaming();
  const encoding = coding === undefined ? [] : ["content-encoding", coding];
  sink.onHead(200, ["content-type", "text/event-stream", ...encoding]);
  for (const piece of pieces) sink.onData(piece);
  sink.onEnd();
  while (outcomes.length === 0) await new Promise(setImmediate);
  const [end] = outcomes;
  return { written: exchange.written, kind: end?.kind, reason: end?.reason };
}

function decompressed(
  { decompress }: (typeof CODINGS)[number],
  bytes: Uint8Array,
): Uint8Array | undefined {
  try {
    return decompress(bytes, { maxOutputLength: BYTES_MAX });
  } catch {
    return undefined;
  }
}
