import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { readGrantFile } from "../../../cli/contract-grant.ts";
import { compileRules } from "../../../node/dataplane/scan/compile-rules.ts";
import { DETECTORS } from "../../../node/dataplane/scan/detectors.ts";
import { SCAN_LIMITS } from "../../../node/dataplane/scan/scan-limits.ts";
import { schemeOf } from "../../../node/decision/stages/11-classification.ts";
import { compilePolicy } from "../../../policy/compile.ts";
import type { ContentScanner } from "../../../policy/content-scanner.ts";
import { covers } from "../../../policy/pattern.ts";
import { readPolicy } from "../../../policy/read-policy.ts";

/** The node's own engine and detectors. */
const scanner: ContentScanner = {
  boundOf: (pattern) => {
    const compiled = compileRules([{ id: "rule", pattern }], { purpose: "body" });
    if (!compiled.ok) return { ok: false, message: compiled.errors[0]?.message ?? "" };
    const bytes = compiled.set.rules[0]?.maxMatchBytes ?? Number.POSITIVE_INFINITY;
    return { ok: true, bytesMax: Number.isFinite(bytes) ? bytes : undefined };
  },
  streamMatchBytesMax: SCAN_LIMITS.streamMatchBytesMax,
  detectors: new Set(DETECTORS.map(({ id }) => id)),
  detectorGroups: new Map(
    Map.groupBy(DETECTORS, ({ label }) => label)
      .entries()
      .map(([label, detectors]) => [label, detectors.map(({ id }) => id)]),
  ),
};

const text = readFileSync(new URL("../../../cli/demo/policy.yaml", import.meta.url), "utf8");

test("the demo's policy is clean: nothing to be told but what may be held", () => {
  const result = readPolicy(text, { file: "policy.yaml", scanner });
  expect(result.findings.filter(({ code }) => code !== "open_holds")).toEqual([]);
  if (!result.ok) throw new Error("the demo's policy has errors");
  const compiled = compilePolicy(result.bundle, { version: 1, scanner });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.findings));

  const worker = compiled.policy.agents.get("research/worker-1");
  expect(covers(worker?.models ?? [], "openai/gpt-5-mini")).toBe(true);
  expect(covers(worker?.models ?? [], "anthropic/claude-haiku-4-5")).toBe(true);
  expect(covers(worker?.models ?? [], "openai/gpt-5")).toBe(false);
  expect(worker?.hours).toEqual([]);
  expect([...compiled.policy.agents.keys()].sort()).toEqual([
    "research/orchestrator",
    "research/worker-1",
    "research/worker-2",
    "support/refunds",
    "support/triage",
  ]);
  expect(compiled.policy.shadowStages.size).toBe(0);
  expect(compiled.policy.limits.reserveWaitMaxMs).toBe(5_000);
  // Every kind of secret is refused in both directions.
  for (const { id } of DETECTORS.filter(({ label }) => label === "secret")) {
    const rule = compiled.policy.content.find(({ detector }) => detector === id);
    expect(rule).toMatchObject({ id: `secrets.${id}`, action: "refuse", direction: "both" });
  }
});

test("the demo's grant fits the demo's policy: its classes, a model and where that is", () => {
  const grant = fileURLToPath(new URL("../../../cli/demo/grant.yaml", import.meta.url));
  const { dataClass, models, geography } = readGrantFile(grant, { notBefore: 0, expires: 3_600 });
  const result = readPolicy(text, { file: "policy.yaml", scanner });
  if (!result.ok) throw new Error("the demo's policy has errors");
  const compiled = compilePolicy(result.bundle, { version: 1, scanner });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.findings));
  const { classification, providers } = compiled.policy;

  expect(dataClass.scheme).toBe(schemeOf(classification));
  expect(dataClass.level).toBeGreaterThanOrEqual(classification.defaultLevel);
  expect(models).toEqual(["openai/gpt-5-mini"]);
  const { region } = providers.get("openai") ?? {};
  expect([geography.proc, geography.egr]).toEqual([[region], [region]]);
});
