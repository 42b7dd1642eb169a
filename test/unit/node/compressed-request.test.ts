import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { contentRule } from "../../support/builders.ts";
import { requestWorld } from "./request-world.ts";

const ANSWER = JSON.stringify({
  id: "x",
  object: "chat.completion",
  created: 1,
  model: "gpt-5-mini",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "hi" } }],
  usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 },
});

const saying = (content: string) => ({
  model: "gpt-5-mini",
  max_completion_tokens: 9,
  messages: [{ role: "user", content }],
});

test("a compressed request is judged by what it says, and goes out uncompressed", async () => {
  const it = await requestWorld({
    reply: (response) => response.setHeader("content-type", "application/json").end(ANSWER),
    policy: { content: [contentRule()] },
  });
  for (const [encoding, compress] of [
    ["gzip", gzipSync],
    ["br", brotliCompressSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    const ask = async (value: object | string): Promise<string> => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      const answer = await it.chat(compress(text), { "content-encoding": encoding });
      await answer.text();
      return answer.headers.get("x-altrace-reason") ?? String(answer.status);
    };
    it.provider.received.length = 0;
    it.world.records.length = 0;
    expect(await ask(saying("the code is secret-1234"))).toBe("content_refused");
    expect(await ask('{"model":"a","model":"b"}')).toBe("duplicate_key");
    expect(await ask(" ".repeat(500_000))).toBe("decompression_ratio");
    expect(await ask("")).not.toBe("200");
    expect(it.provider.received).toEqual([]);
    expect(await ask(saying("clean"))).toBe("200");
    const [sent] = it.provider.received;
    expect(JSON.parse(sent?.body ?? "")).toEqual(saying("clean"));
    expect(sent?.headers).not.toHaveProperty("content-encoding");
    expect(sent?.headers["content-length"]).toBe(String(sent?.body.length));
    // What is on record, and what was held, is of what it says.
    const n = JSON.stringify(saying("clean")).length;
    expect(it.world.decisions.at(-1)?.in).toMatchObject({ n, scanned: n });
  }
  expect(it.faults).toEqual([]);
});
