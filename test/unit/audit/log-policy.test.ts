import { describe, expect, test } from "vitest";
import {
  hasQuorum,
  type LogPolicy,
  POLICY_BYTES_MAX,
  POLICY_LINES_MAX,
  parseLogPolicy,
} from "../../../audit/log-policy.ts";
import { encodeVkey, KEY_TYPES, verifierKey } from "../../../audit/signed-note.ts";
import { LOG, signerOf, type WITNESS } from "./sample-log.ts";

const log = encodeVkey(LOG.key);
const keys = new Map(
  ["X1", "X2", "X3", "Y1", "Y2", "Y3"].map((name, i) => [
    name,
    signerOf(`${name}.example`, KEY_TYPES.cosignature, 20 + i).key,
  ]),
);
const vkeyOf = (name: string) => encodeVkey(keys.get(name) as typeof WITNESS.key);
const witnesses = [...keys.keys()].map((name) => `witness ${name} ${vkeyOf(name)}`).join("\n");

/** The specification's own example. */
const TWO_GROUPS = `log ${log}

${witnesses}
group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

function policy(text: string): LogPolicy {
  const result = parseLogPolicy(Buffer.from(text));
  if (!result.ok) throw new Error(`${result.flaw}: ${result.detail}`);
  return result.value;
}

function flawOf(text: string | Uint8Array): string {
  const result = parseLogPolicy(typeof text === "string" ? Buffer.from(text) : text);
  return result.ok ? "none" : result.flaw;
}

function quorate(text: string, names: string): boolean {
  const cosigners = names
    .split(" ")
    .filter(Boolean)
    .map((name) => keys.get(name));
  return hasQuorum(policy(text), cosigners as (typeof WITNESS.key)[]);
}

test("witnesses with a URL are places to which checkpoints can be brought", () => {
  const line = (name: string, url = "") => `witness ${name} ${vkeyOf(name)}${url}\n`;
  const text = `${line("X1")}${line("X2", "  https://x2.example/a ")}quorum none\n`;
  expect(policy(text).places).toEqual([
    { name: "X2", key: keys.get("X2"), url: "https://x2.example/a" },
  ]);
  expect(policy(text).witnesses).toHaveLength(2);
});

describe("the specification's example", () => {
  test("knows its log and witnesses", () => {
    expect(policy(TWO_GROUPS).logs).toEqual([LOG.key]);
    expect(policy(TWO_GROUPS).witnesses).toEqual([...keys.values()]);
  });

  test.each([
    ["X1 X2 Y1", true],
    ["X2 X3 Y3 Y1", true],
    ["X1 X2 X3 Y1 Y2 Y3", true],
    ["X1 X2 X3", false],
    ["Y1 Y2 Y3", false],
    ["X1 Y1 Y2 Y3", false],
    ["X1 X1 Y1", false],
    ["", false],
  ])("cosignatures by %s make a quorum: %s", (names, expected) => {
    expect(quorate(TWO_GROUPS, names)).toBe(expected);
  });
});

test("an unknown witness counts for nothing", () => {
  const one = `witness X1 ${vkeyOf("X1")}\nquorum X1\n`;
  expect(quorate(one, "X1")).toBe(true);
  expect(quorate(one, "X2")).toBe(false);
});

test("a witness is its key, whatever name it goes by", () => {
  const one = policy(`witness X1 ${vkeyOf("X1")}\nquorum X1\n`);
  const key = keys.get("X1") as typeof WITNESS.key;
  expect(hasQuorum(one, [verifierKey("other.example", KEY_TYPES.cosignature, key.publicKey)])).toBe(
    true,
  );
});

test("only the word none asks for no cosignature", () => {
  expect(quorate("quorum none\n", "")).toBe(true);
  expect(flawOf("")).toBe("policy_characters");
  expect(flawOf("\n")).toBe("policy_quorum");
  expect(flawOf(`log ${log}\n`)).toBe("policy_quorum");
});

test("white space, comments and URLs change nothing", () => {
  const spaced = `\t log\t${log}  https://log.example/ \n # comment\n#\n \n\tquorum none \n`;
  expect(policy(spaced)).toEqual(policy(`log ${log}\nquorum none\n`));
});

describe("a file that is not understood is refused", () => {
  const x1 = `witness X1 ${vkeyOf("X1")}`;
  const renamed = encodeVkey(
    verifierKey(
      "renamed.example",
      KEY_TYPES.cosignature,
      (keys.get("X1") as typeof WITNESS.key).publicKey,
    ),
  );
  const x2 = `witness X2 ${vkeyOf("X2")}`;
  test.each<[string, string | Uint8Array, string]>([
    ["an unknown word", `trust ${log}\nquorum none\n`, "policy_line"],
    ["a word in upper case", "Quorum none\n", "policy_line"],
    ["a log without a key", "log\nquorum none\n", "policy_line"],
    ["a third item on a log's line", `log ${log} https://a b\nquorum none\n`, "policy_line"],
    ["a fourth item on a witness's line", `${x1} https://a b\nquorum X1\n`, "policy_line"],
    ["a malformed key", `log ${log}x\nquorum none\n`, "policy_key"],
    ["a witness's key as log", `log ${vkeyOf("X1")}\nquorum none\n`, "policy_key"],
    ["a log's key as witness", `witness L ${log}\nquorum L\n`, "policy_key"],
    ["one log twice", `log ${log}\nlog ${log}\nquorum none\n`, "policy_key_twice"],
    [
      "one key under two key names",
      `${x1}\nwitness X2 ${renamed}\nquorum X1\n`,
      "policy_key_twice",
    ],
    [
      "one witness under two names",
      `${x1}\nwitness X2 ${vkeyOf("X1")}\nquorum X1\n`,
      "policy_key_twice",
    ],
    [
      "two witnesses under one name",
      `${x1}\nwitness X1 ${vkeyOf("X2")}\nquorum X1\n`,
      "policy_name",
    ],
    ["a witness called none", `witness none ${vkeyOf("X1")}\nquorum none\n`, "policy_name"],
    ["a group called like a witness", `${x1}\n${x2}\ngroup X1 any X2\nquorum X1\n`, "policy_name"],
    ["a member that is not defined", `${x1}\ngroup g any X1 X2\nquorum g\n`, "policy_name"],
    ["a member defined below", `group g any X1\n${x1}\nquorum g\n`, "policy_name"],
    ["a group within itself", `${x1}\ngroup g any g\nquorum g\n`, "policy_name"],
    ["none as a member", `${x1}\ngroup g any none\nquorum g\n`, "policy_name"],
    ["a member twice in a group", `${x1}\ngroup g 2 X1 X1\nquorum g\n`, "policy_group"],
    ["a member of two groups", `${x1}\ngroup g any X1\ngroup h any X1\nquorum g\n`, "policy_group"],
    ["a threshold of none", `${x1}\ngroup g 0 X1\nquorum g\n`, "policy_group"],
    ["a threshold above the members", `${x1}\ngroup g 2 X1\nquorum g\n`, "policy_group"],
    ["a threshold with a leading zero", `${x1}\ngroup g 01 X1\nquorum g\n`, "policy_group"],
    ["a threshold that is a word", `${x1}\ngroup g most X1\nquorum g\n`, "policy_group"],
    ["a group without members", `${x1}\ngroup g any\nquorum g\n`, "policy_line"],
    ["a quorum that is not defined", "quorum X1\n", "policy_name"],
    ["a quorum defined below", `quorum X1\n${x1}\n`, "policy_name"],
    ["two quorums", "quorum none\nquorum none\n", "policy_quorum"],
    ["a quorum of two names", `${x1}\n${x2}\nquorum X1 X2\n`, "policy_line"],
    ["a carriage return", "quorum none\r\n", "policy_characters"],
    ["a control character in a comment", "#\u0007\nquorum none\n", "policy_characters"],
    ["no newline at the end", "quorum none", "policy_characters"],
    [
      "invalid UTF-8",
      Buffer.concat([Buffer.from([0x23, 0xff]), Buffer.from("\nquorum none\n")]),
      "policy_characters",
    ],
    ["too many bytes", `${"#".repeat(POLICY_BYTES_MAX)}\nquorum none\n`, "policy_too_large"],
  ])("%s", (_name, text, flaw) => {
    expect(flawOf(text)).toBe(flaw);
  });

  test("too many logs, and not one fewer", () => {
    const logs = (count: number) =>
      Array.from({ length: count }, (_, i) => {
        return `log ${encodeVkey(verifierKey(`l${i}`, KEY_TYPES.log, Buffer.alloc(32, i)))}\n`;
      }).join("");
    expect(flawOf(`${logs(POLICY_LINES_MAX)}quorum none\n`)).toBe("none");
    expect(flawOf(`${logs(POLICY_LINES_MAX + 1)}quorum none\n`)).toBe("policy_limit");
  });
});
