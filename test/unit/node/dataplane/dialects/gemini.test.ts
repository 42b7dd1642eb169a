import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { GEMINI_GENERATE } from "../../../../../node/dataplane/dialects/gemini-generate.ts";

const [GENERATE] = GEMINI_GENERATE.routes as [(typeof GEMINI_GENERATE.routes)[number]];
const HELLO = [{ role: "user", parts: [{ text: "hello" }] }];

function read(over: JsonObject) {
  return GEMINI_GENERATE.read(GENERATE, { contents: HELLO, ...over });
}

describe("a request", () => {
  test.each(["maxOutputTokens", "max_output_tokens"])("is bounded by its own limit: %s", (name) => {
    for (const config of ["generationConfig", "generation_config"]) {
      expect(read({ [config]: { [name]: 7 } })).toMatchObject({ maxOutputTokens: 7 });
    }
  });

  test.each(["maxOutput_tokens", "max_outputTokens", "_max_output_tokens", "max__output_tokens"])(
    "that spells its limit in both ways at once has one that is not known: %s",
    (name) => {
      expect(read({ generationConfig: { [name]: 1_000_000 } })).toMatchObject({
        unpricedParameter: `generationConfig.${name}`,
      });
    },
  );

  test("that names a member in both spellings is malformed", () => {
    const config = { maxOutputTokens: 1, max_output_tokens: 1_000_000 };
    expect(read({ generationConfig: config })).toMatchObject({ missing: "malformed_request" });
  });
});

describe("an answer", () => {
  const answerWith = (part: JsonObject) =>
    GEMINI_GENERATE.readAnswer({ candidates: [{ content: { parts: [part] } }] });

  test.each([
    ["inlineData", "inline_data"],
    ["fileData", "file_data"],
    ["executableCode", "executable_code"],
    ["codeExecutionResult", "code_execution_result"],
    ["toolCall", "tool_call"],
    // Read where it is spelt as answers spell it, and so judged by its name.
    ["function_call", "function_call"],
  ])("that brings something else than text is not readable: %s, %s", (...names) => {
    for (const name of names) expect(answerWith({ [name]: { name: "look" } })).toBeUndefined();
  });

  test("that calls a function tells its name", () => {
    expect(answerWith({ functionCall: { name: "look" } })?.toolNames).toEqual(["look"]);
  });
});
