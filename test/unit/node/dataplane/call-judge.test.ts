import { describe, expect, test } from "vitest";
import type { RelayInput } from "../../../../node/dataplane/client-leg.ts";
import type { RelayDialect } from "../../../../node/dataplane/dialects/answer-part.ts";
import { RELAY_LIMITS } from "../../../../node/dataplane/relay-limits.ts";
import { refusedArgument } from "../../../../policy/argument-rules.ts";
import type { ArgumentRules } from "../../../../policy/compiled-policy.ts";
import { dataFrame, EVENT_STREAM, namedFrame, type Relayed, relay } from "./relay-fixture.ts";

const RULES: ReadonlyMap<string, ArgumentRules> = new Map([
  ["read_file", new Map([["path", { within: ["/srv"], required: true as const }]])],
]);

const argumentRules: NonNullable<RelayInput["argumentRules"]> = {
  has: (tool) => RULES.has(tool),
  refused: (tool, given) => refusedArgument(RULES, tool, given),
};

const GOOD = '{"path":"/srv/a"}';

/** How one dialect brings a call: frames by the pieces of its arguments, or all at once. */
type Wire = {
  readonly name: RelayDialect["name"];
  readonly before: readonly string[];
  readonly open: (tool: string) => readonly string[];
  readonly piece: (text: string) => string;
  readonly close: (tool: string, json: string) => readonly string[];
  readonly last: readonly string[];
  readonly whole: (tool: string, json: string) => object;
};

const chunk = (delta: object, finish_reason: string | null = null) =>
  dataFrame({ id: "c", choices: [{ index: 0, delta, finish_reason }] });
const chatCall = (call: object) => chunk({ tool_calls: [{ index: 0, ...call }] });
const item = (tool: string, json: string) => ({
  ...{ type: "function_call", id: "fc_1", call_id: "x", name: tool, arguments: json },
});
const at = { output_index: 0, item_id: "fc_1" };

const WIRES: readonly Wire[] = [
  {
    name: "openai",
    before: [chunk({ role: "assistant", content: "Let me see. " })],
    open: (name) => [chatCall({ id: "x", type: "function", function: { name, arguments: "" } })],
    piece: (text) => chatCall({ function: { arguments: text } }),
    close: () => [chunk({}, "tool_calls")],
    last: ["data: [DONE]\n\n"],
    whole: (name, json) => ({
      choices: [{ message: { tool_calls: [{ function: { name, arguments: json } }] } }],
    }),
  },
  {
    name: "openai-responses",
    before: [namedFrame({ type: "response.created", response: { output: [] } })],
    open: (tool) => [
      namedFrame({ type: "response.output_item.added", ...at, item: item(tool, "") }),
    ],
    piece: (delta) => namedFrame({ type: "response.function_call_arguments.delta", ...at, delta }),
    close: (tool, json) => [
      namedFrame({ type: "response.function_call_arguments.done", ...at, arguments: json }),
      namedFrame({ type: "response.output_item.done", ...at, item: item(tool, json) }),
    ],
    last: [namedFrame({ type: "response.completed", response: { output: [] } })],
    whole: (tool, json) => ({ output: [item(tool, json)] }),
  },
  {
    name: "anthropic",
    before: [namedFrame({ type: "message_start", message: { content: [] } })],
    open: (name) => [
      namedFrame({
        type: "content_block_start",
        index: 0,
        content_block: { type: "tool_use", id: "x", name, input: {} },
      }),
    ],
    piece: (partial_json) =>
      namedFrame({
        type: "content_block_delta",
        index: 0,
        delta: { type: "input_json_delta", partial_json },
      }),
    close: () => [namedFrame({ type: "content_block_stop", index: 0 })],
    last: [
      namedFrame({ type: "message_delta", delta: { stop_reason: "tool_use" } }),
      namedFrame({ type: "message_stop" }),
    ],
    whole: (name, json) => ({
      type: "message",
      content: [{ type: "tool_use", id: "x", name, input: JSON.parse(json) }],
    }),
  },
];

function streamed(wire: Wire, frames: readonly string[], over: Partial<RelayInput> = {}): Relayed {
  const relayed = relay(wire.name, { argumentRules, wantsUsage: true, ...over });
  relayed.sink.onHead(200, EVENT_STREAM);
  for (const frame of frames) relayed.sink.onData(Buffer.from(frame));
  return relayed;
}

function ended(wire: Wire, frames: readonly string[]): Relayed {
  const relayed = streamed(wire, frames);
  relayed.sink.onEnd();
  return relayed;
}

const called = (wire: Wire, tool: string, json: string): readonly string[] => [
  ...wire.open(tool),
  ...[...json].map((one) => wire.piece(one)),
  ...wire.close(tool, json),
];

describe.each(WIRES)("in a stream of $name", (wire) => {
  test("arguments are released once they are whole and obey, byte for byte", () => {
    const call = called(wire, "read_file", GOOD);
    const begun = streamed(wire, [...wire.before, ...call.slice(0, -2)]);
    const released = begun.exchange.written;
    expect(released).not.toContain("srv");
    expect(released).toBe([...wire.before, ...wire.open("read_file")].join(""));
    expect(begun.outcomes).toEqual([]);
    const whole = ended(wire, [...wire.before, ...call, ...wire.last]);
    expect(whole.exchange.written).toBe([...wire.before, ...call, ...wire.last].join(""));
    expect(whole.outcomes).toMatchObject([{ kind: "done" }]);
  });

  test("the arguments of tools without rules are not waited for", () => {
    const call = [...wire.open("other"), wire.piece('{"path":"/etc')];
    expect(streamed(wire, [...wire.before, ...call]).exchange.written).toContain("/etc");
  });

  test.each([
    ["breaks its rule", '{"path":"/etc/passwd"}', "read_file.path"],
    ["leads out by dots", '{"path":"/srv/../etc"}', "read_file.path"],
    ["is written with escapes", '{"path":"\\u002fetc"}', "read_file.path"],
    ["stands there twice", '{"path":"/srv/a","path":"/etc"}', "read_file.(unreadable)"],
    ["is one that nobody named", '{"path":"/srv/a","mode":"w"}', "read_file.mode"],
    ["is missing", "{}", "read_file.path"],
    ["is no object's", '["/srv/a"]', "read_file.(unreadable)"],
    ["is no JSON's", '{"path":"/srv/a"', "read_file.(unreadable)"],
  ])("an argument that %s ends the answer, and none of it was seen", (_what, json, rule) => {
    const { exchange, outcomes } = streamed(wire, [
      ...wire.before,
      ...called(wire, "read_file", json),
      ...wire.last,
    ]);
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "tool_argument_refused", rule }]);
    expect(exchange.written).toBe([...wire.before, ...wire.open("read_file")].join(""));
    expect(exchange.lastFrame).toContain("tool_argument_refused");
  });

  test("a call without any arguments breaks a rule that requires one", () => {
    const frames = [...wire.before, ...wire.open("read_file"), ...wire.close("read_file", "")];
    const { outcomes } = streamed(wire, [...frames, ...wire.last]);
    expect(outcomes).toMatchObject([{ reason: "tool_argument_refused", rule: "read_file.path" }]);
  });

  test("the end of the answer is the end of a call that has none of its own", () => {
    const bad = [...wire.before, ...wire.open("read_file"), wire.piece('{"path":"/etc"}')];
    const { exchange, outcomes } = streamed(wire, [...bad, ...wire.last]);
    expect(outcomes).toMatchObject([{ reason: "tool_argument_refused" }]);
    expect(exchange.written).not.toContain("etc");
  });

  test("more of a call that was judged makes the answer unreadable", () => {
    const frames = [...wire.before, ...called(wire, "read_file", GOOD), wire.piece(" ")];
    expect(streamed(wire, frames).outcomes).toMatchObject([{ reason: "response_unscannable" }]);
  });

  test("a call that becomes another tool's in its midst has two readings", () => {
    for (const [first, second] of [
      ["other", "read_file"],
      ["read_file", "other"],
    ] as const) {
      const begun = [...wire.open(first), wire.piece(' {"path":'), ...wire.open(second)];
      const frames = [...wire.before, ...begun, wire.piece('"/etc"}'), ...wire.close(second, "")];
      const { exchange, outcomes } = streamed(wire, [...frames, ...wire.last]);
      expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
      expect(exchange.written).not.toContain("/etc");
    }
  });

  test("of a tool that nobody has named there is no reading", () => {
    const { outcomes } = streamed(wire, [...wire.before, wire.piece("{")]);
    expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
  });

  test("more of a call than may be kept ends the answer", () => {
    const long = wire.piece("x".repeat(400_000));
    const count = Math.ceil(RELAY_LIMITS.heldBytesMax / 400_000);
    const frames = [...wire.open("read_file"), ...Array.from({ length: count }, () => long)];
    const { exchange, outcomes } = streamed(wire, [...wire.before, ...frames]);
    expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
    expect(exchange.written).not.toContain("xxx");
  });

  test("a whole answer is judged alike", () => {
    const asked = (tool: string, json: string) => {
      const relayed = relay(wire.name, { argumentRules, stream: false });
      relayed.sink.onHead(200, ["content-type", "application/json"]);
      relayed.sink.onData(Buffer.from(JSON.stringify(wire.whole(tool, json))));
      relayed.sink.onEnd();
      return relayed.outcomes;
    };
    expect(asked("read_file", GOOD)).toMatchObject([{ kind: "done" }]);
    expect(asked("other", '{"path":"/etc"}')).toMatchObject([{ kind: "done" }]);
    expect(asked("read_file", '{"path":"/etc"}')).toMatchObject([
      { reason: "tool_argument_refused", rule: "read_file.path" },
    ]);
  });
});

describe("what only one dialect has", () => {
  const chat = WIRES[0] as Wire;

  test("chat: arguments that are free text break the rules of a tool that has some", () => {
    const call = chatCall({ custom: { name: "read_file", input: GOOD } });
    const { outcomes } = streamed(chat, [...chat.before, call, ...chat.close("", "")]);
    expect(outcomes).toMatchObject([{ rule: "read_file.(unreadable)" }]);
  });

  test("chat: a name in pieces is judged as a client joins it, and as one keeps the last", () => {
    for (const [first, last] of [
      ["read_", "file"],
      ["x_", "read_file"],
    ] as const) {
      const open = [
        chatCall({ function: { name: first } }),
        chatCall({ function: { name: last } }),
      ];
      const frames = [...open, chat.piece('{"path":"/etc"}'), ...chat.close("", "")];
      const { outcomes } = streamed(chat, [...chat.before, ...frames]);
      expect(outcomes).toMatchObject([{ reason: "tool_argument_refused" }]);
    }
  });

  test("chat: the older form of a call, and the second of two", () => {
    const older = chunk({ function_call: { name: "read_file", arguments: '{"path":"/etc"}' } });
    const frames = [...chat.before, older, ...chat.close("", "")];
    expect(streamed(chat, frames).outcomes).toMatchObject([{ rule: "read_file.path" }]);
    const second = (call: object) => chunk({ tool_calls: [{ index: 1, ...call }] });
    const two = [
      ...chat.before,
      ...chat.open("other"),
      chat.piece("{}"),
      second({ function: { name: "read_file", arguments: '{"path":"/etc"}' } }),
      ...chat.close("", ""),
    ];
    expect(streamed(chat, two).outcomes).toMatchObject([{ rule: "read_file.path" }]);
  });

  test("chat: calls that run side by side are each one", () => {
    const of = (index: number, call: object) => chunk({ tool_calls: [{ index, ...call }] });
    const named = (name: string) => ({ function: { name, arguments: '{"path":' } });
    const frames = [
      ...[of(0, named("read_file")), of(1, named("read_file"))],
      ...[0, 1].map((index) => of(index, { function: { arguments: `"/srv/${index}"}` } })),
      ...chat.close("", ""),
      ...chat.last,
    ];
    const { exchange, outcomes } = ended(chat, frames);
    expect(outcomes).toMatchObject([{ kind: "done" }]);
    expect(exchange.written).toBe(frames.join(""));
  });

  test.each([
    ["its arguments", { id: "y", function: { arguments: GOOD } }],
    ["a part of them", { id: "y", function: { name: "read_file", arguments: '{"path":' } }],
    ["none of them", { id: "y", function: { name: "read_file", arguments: "" } }],
    ["nothing", { id: "y" }],
  ])("chat: of a call that has another id with %s there are two readings", (_what, call) => {
    const frames = [...chat.before, ...chat.open("read_file"), chatCall(call)];
    const { exchange, outcomes } = streamed(chat, [
      ...frames,
      chat.piece(" "),
      ...chat.close("", ""),
    ]);
    expect(outcomes).toMatchObject([{ rule: "read_file.(unreadable)" }]);
    expect(exchange.written).not.toContain('"y"');
  });

  test("messages: arguments that a call begins with are judged, and those that follow too", () => {
    const wire = WIRES[2] as Wire;
    const begun = (input: object) =>
      namedFrame({
        type: "content_block_start",
        index: 0,
        content_block: { type: "tool_use", id: "x", name: "read_file", input },
      });
    const asked = (input: object, pieces: readonly string[]) =>
      ended(wire, [
        ...[...wire.before, begun(input)],
        ...[...pieces.map((one) => wire.piece(one)), ...wire.close("", ""), ...wire.last],
      ]).outcomes;
    expect(asked({ path: "/srv/a" }, [])).toMatchObject([{ kind: "done" }]);
    expect(asked({ path: "/etc" }, [])).toMatchObject([{ rule: "read_file.path" }]);
    expect(asked({ path: "/srv/a" }, ['{"path":"/etc"}'])).toMatchObject([
      { rule: "read_file.path" },
    ]);
  });

  test("responses: a repetition that says something else is judged for itself", () => {
    const wire = WIRES[1] as Wire;
    const bad = '{"path":"/etc"}';
    const begun = [...wire.before, ...wire.open("read_file"), wire.piece(GOOD)];
    for (const again of wire.close("read_file", bad)) {
      expect(streamed(wire, [...begun, again]).outcomes).toMatchObject([
        { rule: "read_file.path" },
      ]);
    }
    const response = { output: [item("read_file", bad)] };
    const last = namedFrame({ type: "response.completed", response });
    const frames = [...begun, ...wire.close("read_file", GOOD), last];
    expect(streamed(wire, frames).outcomes).toMatchObject([{ rule: "read_file.path" }]);
  });

  test("responses: a piece that names another call than stands at its place is none", () => {
    const wire = WIRES[1] as Wire;
    const second = namedFrame({
      type: "response.output_item.added",
      ...{ output_index: 1, item: { ...item("read_file", ""), id: "fc_2" } },
    });
    const piece = namedFrame({
      type: "response.function_call_arguments.delta",
      ...{ output_index: 0, item_id: "fc_2", delta: "{" },
    });
    const begun = [...wire.before, ...wire.open("other"), second];
    const { outcomes } = streamed(wire, [...begun, piece]);
    expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
  });

  test("gemini: a call is whole in its part, streamed or not", () => {
    const calling = (args: object) => ({
      candidates: [
        {
          content: { parts: [{ functionCall: { name: "read_file", args } }] },
          finishReason: "STOP",
        },
      ],
    });
    for (const [args, expected] of [
      [{ path: "/srv/a" }, { kind: "done" }],
      [{ path: "/etc" }, { reason: "tool_argument_refused", rule: "read_file.path" }],
      [{ path: { at: "/srv" } }, { reason: "tool_argument_refused" }],
    ] as const) {
      const whole = relay("gemini", { argumentRules, stream: false });
      whole.sink.onHead(200, ["content-type", "application/json"]);
      whole.sink.onData(Buffer.from(JSON.stringify(calling(args))));
      whole.sink.onEnd();
      expect(whole.outcomes).toMatchObject([expected]);
      const stream = relay("gemini", { argumentRules });
      stream.sink.onHead(200, EVENT_STREAM);
      stream.sink.onData(Buffer.from(dataFrame(calling(args))));
      stream.sink.onEnd();
      expect(stream.outcomes).toMatchObject([expected]);
    }
  });
});
