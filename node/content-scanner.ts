import type { ContentScanner } from "../policy/content-scanner.ts";
import { compileRules } from "./dataplane/scan/compile-rules.ts";
import { DETECTORS } from "./dataplane/scan/detectors.ts";
import { SCAN_LIMITS } from "./dataplane/scan/scan-limits.ts";

/** The engine that runs content rules, as policy asks it whether it takes a rule. */
export const contentScanner: ContentScanner = {
  boundOf: (pattern) => {
    const compiled = compileRules([{ id: "asked", pattern }], { purpose: "body" });
    if (!compiled.ok) return { ok: false, message: compiled.errors[0]?.message ?? "not accepted" };
    const bytesMax = compiled.set.rules[0]?.maxMatchBytes ?? Number.POSITIVE_INFINITY;
    return { ok: true, bytesMax: Number.isFinite(bytesMax) ? bytesMax : undefined };
  },
  streamMatchBytesMax: SCAN_LIMITS.streamMatchBytesMax,
  detectors: new Set(DETECTORS.map(({ id }) => id)),
  detectorGroups: groupsByLabel(),
};

/** Detectors by the class label they prove: a policy may name a label and mean all of its detectors. */
function groupsByLabel(): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const { id, label } of DETECTORS) groups.set(label, [...(groups.get(label) ?? []), id]);
  return groups;
}
