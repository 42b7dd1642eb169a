import { describe, expect, test } from "vitest";
import { DOORS, STANDINGS as RECORDED_STANDINGS, STAGES } from "../../audit/record.ts";
import { CHAIN } from "../../node/decision/chain.ts";
import { STANDINGS } from "../../node/decision/facts.ts";
import {
  BeatSchema,
  NodeReplySchema,
  NodeRequestSchema,
  Standing,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { RecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { REASONS, type Reason, stageOf } from "../../proto/reasons.ts";
import { REQUEST_METHODS } from "../../proto/subjects.ts";
import { namesIn, productSources, textOf, withoutComments } from "./sources.ts";

const sources = productSources();
const reasons = Object.keys(REASONS) as Reason[];

/** Reasons that nothing gives now. Their rows stay, because their numbers must not be used again. */
const NOT_GIVEN: readonly Reason[] = ["provider_unknown", "model_name_malformed"];

describe("the chain", () => {
  test("has fourteen rows, numbered in order, because records and headers name them by number", () => {
    expect(CHAIN.map(({ no }) => no)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
    expect(STAGES).toBe(CHAIN.length);
  });

  test("has one file for each row, named after it, so that the folder is the table of contents", () => {
    const wanted = CHAIN.map(({ no, name }) => `${String(no).padStart(2, "0")}-${name}.ts`);
    expect(namesIn("node/decision/stages")).toEqual(wanted);
  });

  test("asks each row's own file, so that no row is answered by another's check", () => {
    const text = textOf("node/decision/chain.ts");
    const wrong = CHAIN.filter(({ no, name, check }) => {
      const file = `./stages/${String(no).padStart(2, "0")}-${name}.ts`;
      return !text.includes(`import { ${check.name} } from "${file}";`);
    });
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });
});

describe("the reasons", () => {
  test("have numbers that only grow, each once, because logs outlive versions", () => {
    const numbers = reasons.map((reason) => REASONS[reason].no);
    expect(numbers.length).toBeGreaterThan(50);
    expect(numbers).toEqual([...new Set(numbers)].sort((left, right) => left - right));
  });

  test("belong to a row of the chain, because an answer names the stage that refused", () => {
    const rows = new Set<number>(CHAIN.map(({ no }) => no));
    expect(reasons.filter((reason) => !rows.has(stageOf(reason)))).toEqual([]);
  });

  test("are snake_case, because they are metric labels and record members", () => {
    expect(reasons.filter((reason) => !/^[a-z][a-z0-9_]*[a-z0-9]$/.test(reason))).toEqual([]);
  });

  test("tell operator and developer something, in sentences", () => {
    const wrong = reasons.filter((reason) => {
      const { operator, developer } = REASONS[reason];
      return ![operator, developer].every((text) => /^[A-Z].*\.$/.test(text));
    });
    expect(wrong).toEqual([]);
  });

  test("say how the caller may go on: what passes by itself is 408, 429 or a fault of ours", () => {
    const later = new Set([408, 429, 502, 503, 504]);
    const wrong = reasons.filter((reason) => {
      const { retry, status } = REASONS[reason];
      return retry === "later" && !later.has(status);
    });
    expect(wrong).toEqual([]);
  });

  test("are given somewhere: a reason that nothing gives is a promise that nothing keeps", () => {
    const texts = sources
      .filter(({ path }) => !path.startsWith("proto/") && !path.startsWith("scripts/"))
      .map(({ text }) => text)
      .join("\n");
    const isGiven = (reason: string) => new RegExp(`["'\`]${reason}["'\`]`).test(texts);
    // Made from a scope's kind or a rate's metric.
    const built = /^(killed|rate)_/;
    const notGiven = reasons.filter((reason) => !isGiven(reason) && !built.test(reason));
    expect(notGiven).toEqual(NOT_GIVEN);
  });
});

describe("what two processes must agree on", () => {
  test("the ladder's levels are the same on the wire, in the chain and in the log", () => {
    const wire = Object.keys(Standing)
      .filter((name) => !/^\d+$/.test(name) && name !== "UNSPECIFIED")
      .map((name) => name.toLowerCase());
    expect(wire).toEqual([...STANDINGS]);
    expect([...RECORDED_STANDINGS]).toEqual([...STANDINGS]);
  });

  test("every question of a node has a subject, a body and an answer", () => {
    const cases = (schema: typeof NodeRequestSchema | typeof NodeReplySchema) =>
      schema.oneofs.flatMap(({ fields }) => fields.map(({ localName }) => localName));
    expect(cases(NodeRequestSchema).sort()).toEqual([...REQUEST_METHODS].sort());
    expect(cases(NodeReplySchema).sort()).toEqual([...REQUEST_METHODS, "refused"].sort());
  });

  test("the mesh has seven operations and no eighth", () => {
    const ops = RecordSchema.oneofs.flatMap(({ fields }) =>
      fields.map(({ localName }) => localName),
    );
    expect(ops).toEqual(["kill", "revive", "policy", "trust", "limit", "key", "redact"]);
  });

  test("digest and heartbeat are one message, so that one reader judges both", () => {
    expect(BeatSchema.typeName).toBe("altrace.v1.Beat");
  });

  test("doors are few and named, because a label of a metric is one", () => {
    expect(new Set(DOORS).size).toBe(DOORS.length);
    expect(DOORS.filter((door) => !/^[a-z]+$/.test(door))).toEqual([]);
  });

  test("subjects are written in proto/subjects.ts alone, so that permissions can be read off it", () => {
    const literal = /["'`]alt\.[a-z]/;
    const writers = sources
      .filter(({ text }) => literal.test(withoutComments(text)))
      .map(({ path }) => path);
    expect(writers).toEqual(["proto/subjects.ts"]);
  });
});
