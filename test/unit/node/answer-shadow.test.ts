import { expect, test } from "vitest";
import { AnswerShadow } from "../../../node/answer-shadow.ts";
import { contentRule, policy } from "../../support/builders.ts";

const content = [
  contentRule({ id: "both", direction: "both" }),
  contentRule({ id: "asking", direction: "request" }),
  contentRule({ id: "label", direction: "both", action: "label", label: "pii" }),
];
const shadowed = (...stages: number[]) =>
  new AnswerShadow(policy({ content, shadowStages: new Set(stages) }));
const hit = (ruleId: string) => ({ ruleId, end: 1 });

test("nothing in shadow: rules that refuse answers do, and tools that are not granted do not pass", () => {
  const shadow = shadowed();
  expect(["both", "asking", "label"].map((id) => shadow.refuses(id))).toEqual([true, false, false]);
  expect(shadow.passesTool("shell")).toBe(false);
  expect(shadow.objection([hit("both")])).toBeUndefined();
});

test("content in shadow: a match passes, and is told with its rule", () => {
  const shadow = shadowed(12);
  expect(shadow.refuses("both")).toBe(false);
  expect(shadow.passesTool("shell")).toBe(false);
  const hits = ["label", "asking", "both"].map(hit);
  expect(shadow.objection(hits)).toEqual({ reason: "content_cut", rule: "both" });
  expect(shadow.objection([hit("label")])).toBeUndefined();
});

test("tools in shadow: a call passes, and the first is told before any match", () => {
  const shadow = shadowed(10, 12);
  expect(shadow.objection([])).toBeUndefined();
  expect([shadow.passesTool("shell"), shadow.passesTool("rm")]).toEqual([true, true]);
  const objection = { reason: "tool_call_not_granted", rule: "shell" };
  expect(shadow.objection([hit("both")])).toEqual(objection);
});
