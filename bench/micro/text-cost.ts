import { createHash } from "node:crypto";
import { compileRules } from "../../node/dataplane/scan/compile-rules.ts";
import { DETECTORS } from "../../node/dataplane/scan/detectors.ts";
import { createScanner } from "../../node/dataplane/scan/scan-stream.ts";
import { type CostBeside, costBeside } from "./cost-of.ts";

const TEXT_BYTES = 16_384;
const CLEAN = "The quick brown fox jumps over the lazy dog, and nobody minds it at all. ";
/** A test card number, and a key of the form that documentation uses. */
const DIRTY = `${CLEAN}Card 4111 1111 1111 1111, key AKIAIOSFODNN7EXAMPLE, mail ann@example.com. `;

/** What may be sent to a scanner, and what it costs, microseconds a KiB. */
export function scanCosts(): {
  readonly clean: CostBeside;
  readonly dirty: CostBeside;
  readonly hostile: CostBeside;
} {
  const clean = scanCost(CLEAN);
  const dirty = scanCost(DIRTY);
  if (clean.hits > 0 || dirty.hits === 0)
    throw new Error("the samples are not what they are called");
  // Each of these begins matches of many rules over and over, and ends none.
  const [hostile] = [hex(), "a@b.", "sk-", "4111-"]
    .map((text) => scanCost(text).cost)
    .toSorted((one, other) => other.us.median - one.us.median);
  return { clean: clean.cost, dirty: dirty.cost, hostile: hostile as CostBeside };
}

function scanCost(part: string): { readonly cost: CostBeside; readonly hits: number } {
  const compiled = compileRules(DETECTORS, { purpose: "body" });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.errors));
  const text = part.repeat(Math.ceil(TEXT_BYTES / part.length));
  const bytes = Buffer.from(text).subarray(0, TEXT_BYTES);
  let hits = 0;
  const cost = costBeside(() => {
    const scanner = createScanner(compiled.set);
    hits = scanner.push(bytes).length + scanner.end().length;
    return scanner.steps;
  }, TEXT_BYTES / 1_024);
  return { cost, hits };
}

/** Digits and letters without an order, the same in every run. */
function hex(): string {
  const parts = Array.from({ length: TEXT_BYTES / 64 }, (_, i) =>
    createHash("sha256").update(String(i)).digest("hex"),
  );
  return parts.join("");
}
