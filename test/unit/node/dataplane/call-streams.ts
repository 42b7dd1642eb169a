import type { RelayDialect } from "../../../../node/dataplane/dialects/answer-part.ts";
import { dataFrame, namedFrame } from "./relay-fixture.ts";

const chunk = (delta: object, finish_reason: string | null = null) =>
  dataFrame({ choices: [{ index: 0, delta, finish_reason }] });
const chat = (text: string) => chunk({ tool_calls: [{ index: 0, function: { arguments: text } }] });
const block = { type: "tool_use", id: "x", name: "t", input: {} };
export const RESPONSES_CALL = { type: "function_call", id: "fc", call_id: "x", name: "t" };

/** A stream of each dialect in which a call's arguments come in pieces: how it is begun, and a piece. */
export const CALL_STREAMS: readonly {
  readonly name: RelayDialect["name"];
  readonly open: string;
  readonly piece: (text: string) => string;
}[] = [
  {
    name: "openai",
    open: chunk({ tool_calls: [{ index: 0, function: { name: "t", arguments: "" } }] }),
    piece: chat,
  },
  {
    name: "openai-responses",
    open: namedFrame({
      type: "response.output_item.added",
      ...{ output_index: 0, item: { ...RESPONSES_CALL, arguments: "" } },
    }),
    piece: (delta) =>
      namedFrame({ type: "response.function_call_arguments.delta", output_index: 0, delta }),
  },
  {
    name: "anthropic",
    open: namedFrame({ type: "content_block_start", index: 0, content_block: block }),
    piece: (partial_json) =>
      namedFrame({
        type: "content_block_delta",
        index: 0,
        delta: { type: "input_json_delta", partial_json },
      }),
  },
];
