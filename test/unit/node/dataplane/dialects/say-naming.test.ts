import { describe, expect, test } from "vitest";
import { PartDraft } from "../../../../../node/dataplane/dialects/answer-part.ts";
import type { DialectName, JsonValue } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../../../node/dataplane/dialects/registry.ts";
import { sayNaming, saySealed } from "../../../../../node/dataplane/dialects/say-naming.ts";

const SIGNATURE = Buffer.from("what only its provider can read, and nobody else at all").toString(
  "base64",
);

function said(say: (part: PartDraft) => void): readonly string[] {
  const part = new PartDraft();
  say(part);
  return part.aside;
}

describe("what names and counts things", () => {
  test.each<[JsonValue, readonly string[]]>([
    ["chatcmpl-1", ["chatcmpl-1"]],
    ["assistant", []],
    ["", []],
    [null, []],
    [1_700_000_000, []],
    [4_111_111_111_111_111, ["4111111111111111"]],
    [4_222_222_222_222, ["4222222222222"]],
    [{ prompt_tokens: 7, service_tier: "a text" }, ["a text"]],
    [{ heard_of_never: 123_456, total_tokens: [{ TEXT: "b" }] }, ["heard_of_never", "123456", "b"]],
  ])("is said, but for the API's own words and counts: %j", (value, texts) => {
    expect(said((part) => sayNaming(value, part))).toEqual(texts);
  });

  test("is nothing of a usual answer but its id and its model", () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    const message = { role: "assistant", content: "x", refusal: null };
    const answer = { id: "i", object: "chat.completion", created: 1, model: "m", usage };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    expect(DIALECTS.openai.readAnswer({ ...answer, choices })?.aside).toEqual(["i", "m"]);
  });
});

describe("what a client gives back unread", () => {
  test.each<[string, JsonValue | undefined, readonly string[]]>([
    ["a signature", SIGNATURE, []],
    ["one in the other alphabet", SIGNATURE.replaceAll("+", "-").replaceAll("/", "_"), []],
    ["none", undefined, []],
    ["none yet", "", []],
    ["a short one", "AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]],
    ["words", `${SIGNATURE} and more`, [`${SIGNATURE} and more`]],
    ["words first", `see ${SIGNATURE}`, [`see ${SIGNATURE}`]],
    ["a list", ["a"], ["a"]],
  ])("is not scanned where it is ciphertext: %s", (_what, value, texts) => {
    expect(said((part) => saySealed(value, part))).toEqual(texts);
  });

  test.each<[DialectName, (sealed: string) => object]>([
    [
      "anthropic",
      (signature) => ({
        type: "content_block_delta",
        index: 0,
        delta: { type: "signature_delta", signature },
      }),
    ],
    [
      "openai-responses",
      (sealed) => ({
        type: "response.output_item.done",
        output_index: 0,
        item: { type: "reasoning", summary: [], encrypted_content: sealed },
      }),
    ],
    [
      "gemini",
      (thoughtSignature) => ({ candidates: [{ content: { parts: [{ thoughtSignature }] } }] }),
    ],
  ])("is looked at in each dialect that has it: %s", (name, frame) => {
    const asideOf = (sealed: string) =>
      DIALECTS[name].streamReader(true).frame(undefined, JSON.stringify(frame(sealed)))?.aside;
    expect(asideOf(SIGNATURE)).not.toContain(SIGNATURE);
    expect(asideOf("in words")).toContain("in words");
  });
});
